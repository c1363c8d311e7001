//! A picture of a run: nodes as rows, what happened to them over time.
//!
//! ```
//! # use core::time::Duration;
//! # use drywire_sim::{HostBuilder, World, timeline::Timeline};
//! let mut world = World::new(7);
//! world.keep_chronicle();
//! let alice = world.add(HostBuilder::standard("alice"))?;
//! let bob = world.add(HostBuilder::standard("bob"))?;
//! world.dial(alice, bob)?;
//! world.run_for(Duration::from_secs(10))?;
//! let svg = Timeline::of(&world).title("two meet").svg();
//! assert!(svg.starts_with("<svg") && svg.contains("alice"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod draw;
mod row;
pub(crate) mod svg;

use crate::{chronicle::Chronicle, world::World};
use core::time::Duration;
use drywire::time::Instant;

/// The most rows drawn unless told otherwise.
const ROWS: usize = 200;

/// What is to be drawn, and how. The same chronicle gives the same bytes.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    chronicle: Option<&'a Chronicle>,
    names: Vec<&'a str>,
    begin: Instant,
    end: Instant,
    title: String,
    subtitle: String,
    rows: usize,
}

impl<'a> Timeline<'a> {
    /// A picture of what happened between two times to the hosts of these names, in the order of their numbers.
    #[must_use]
    pub fn new(
        chronicle: &'a Chronicle,
        names: Vec<&'a str>,
        begin: Instant,
        end: Instant,
    ) -> Self {
        Self {
            chronicle: Some(chronicle),
            names,
            begin,
            end: end.max(begin + Duration::from_millis(1)),
            title: String::new(),
            subtitle: String::new(),
            rows: ROWS,
        }
    }

    /// A picture of a world so far, with its hosts, seed and trace hash as a title. Empty, unless the world
    /// [keeps a chronicle](World::keep_chronicle).
    #[must_use]
    pub fn of(world: &'a World) -> Self {
        let names: Vec<&str> = world.hosts().map(|host| world.name(host)).collect();
        let title = format!("{} nodes, seed {}", names.len(), world.seed());
        let begin = Instant::ZERO + Duration::from_secs(1);
        Self {
            chronicle: world.chronicle(),
            names,
            begin,
            end: world.now().max(begin + Duration::from_millis(1)),
            title,
            subtitle: format!("trace hash {}", world.trace_hash()),
            rows: ROWS,
        }
    }

    /// With this title.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// With this line below the title.
    #[must_use]
    pub fn subtitle(mut self, subtitle: impl Into<String>) -> Self {
        self.subtitle = subtitle.into();
        self
    }

    /// With at most so many rows: those of the first hosts. 200. What is drawn above the rows counts all hosts.
    #[must_use]
    pub const fn rows(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// The picture, as an SVG document 1200 pixels wide.
    #[must_use]
    pub fn svg(&self) -> String {
        draw::draw(self)
    }
}
