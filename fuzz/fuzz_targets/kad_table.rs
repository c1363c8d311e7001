#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz_bodies::kad_table(data));
