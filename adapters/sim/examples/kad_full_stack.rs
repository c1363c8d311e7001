//! What Kademlia costs on whole nodes: `kad_full_stack [nodes] [lookups]`.
#![allow(clippy::std_instead_of_core)]

use drywire_sim::kad::full_stack::{FullStack, run};
use std::{env, error::Error};

fn main() -> Result<(), Box<dyn Error>> {
    let number = |at: usize, default: usize| {
        let word = env::args().nth(at);
        word.map_or(Ok(default), |word| word.parse())
    };
    let nodes = number(1, 500)?;
    let plan = FullStack::new(nodes).lookups(number(2, nodes)?);
    println!("{}", run(&plan, |what| eprintln!("{what}"))?);
    Ok(())
}
