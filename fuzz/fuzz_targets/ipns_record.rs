#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| drywire_fuzz_bodies::ipns_record(data));
