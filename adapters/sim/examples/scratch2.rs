use drywire_sim::explore::{Campaign, Plan};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let from: u64 = a[1].parse().unwrap();
    let to: u64 = a[2].parse().unwrap();
    if to == 0 {
        match Plan::draw(from).run() {
            Ok(r) => println!("{} {:?} steps {}", r.trace_hash, r.time, r.statistics.steps),
            Err(f) => println!("{f}"),
        }
        return;
    }
    let start = std::time::Instant::now();
    let s = Campaign::new(from..to).threads(1).run(3, |_| {});
    for f in &s.failures {
        println!("=== {f}");
    }
    println!(
        "passed {} failed {} steps {} time {:?} wall {:?}",
        s.passed,
        s.failures.len(),
        s.steps,
        s.time,
        start.elapsed()
    );
    println!("{:?}", s.runs_with);
    println!("{:#?}", s.errors);
    println!("never {:?}", s.never_met);
}
