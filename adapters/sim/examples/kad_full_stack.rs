//! What Kademlia costs on whole nodes: `kad_full_stack [nodes] [lookups]`; and how lookups go while nodes leave and come back:
//! `kad_full_stack [nodes] [lookups] churn [speed]`, a lookup each five seconds, as fast as measured in public or so many times
//! faster.
#![allow(clippy::std_instead_of_core)]

use drywire_sim::kad::{
    KadChurn,
    full_stack::{FullStack, run},
};
use std::{env, error::Error, time::Duration};

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at: usize, default: usize| {
        let word = env::args().nth(at);
        word.map_or(Ok(default), |word| word.parse())
    };
    let nodes = number(1, 500)?;
    let mut plan = FullStack::new(nodes).lookups(number(2, nodes)?);
    match env::args().nth(3).as_deref() {
        None => {}
        Some("churn") => {
            let mut churn = KadChurn::measured();
            churn.law = churn.law.faster(number(4, 1)? as f64);
            plan = plan.every(Duration::from_secs(5)).churn(churn);
        }
        Some(other) => return Err(format!("{other}: \"churn\" is expected here").into()),
    }
    println!("{}", run(&plan, |what| eprintln!("{what}"))?);
    Ok(())
}
