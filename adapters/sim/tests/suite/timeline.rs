//! Pictures of runs: well-formed, complete, the same each time, and of bounded size.

use core::time::Duration;
use drywire_sim::{
    Fault, HostBuilder, HostId, Moment, World,
    population::{Churn, Population, PopulationConfig},
    timeline::Timeline,
};
use roxmltree::Document;

fn texts<'a>(document: &'a Document<'_>) -> Vec<&'a str> {
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    texts.filter_map(|node| node.text()).collect()
}

fn titles<'a>(document: &'a Document<'_>) -> Vec<&'a str> {
    let titles = document
        .descendants()
        .filter(|node| node.has_tag_name("title"));
    titles.filter_map(|node| node.text()).collect()
}

/// Every number that is a place, or a size.
fn in_bounds(document: &Document<'_>) {
    let root = document.root_element();
    let number = |node: &roxmltree::Node<'_, '_>, name: &str| {
        node.attribute(name)
            .map(|text| text.parse::<f64>().unwrap())
    };
    let (width, height) = (
        number(&root, "width").unwrap(),
        number(&root, "height").unwrap(),
    );
    assert_eq!(width, 1200.0);
    for node in document.descendants() {
        for (name, most) in [
            ("x", width),
            ("width", width),
            ("y", height),
            ("height", height),
        ] {
            if let Some(value) = number(&node, name) {
                assert!((0.0..=most).contains(&value), "{name} {value} of {node:?}");
            }
        }
    }
}

fn bare(names: &[&str]) -> (World, Vec<HostId>) {
    let mut world = World::new(1);
    world.keep_chronicle();
    let hosts = names
        .iter()
        .map(|name| world.add_bare(*name, Vec::new(), None).unwrap());
    let hosts = hosts.collect();
    (world, hosts)
}

#[test]
fn a_harsh_run_gives_a_picture_with_everything_in_it() {
    let mut config = PopulationConfig::default();
    config.nodes = 20;
    config.connections = 4;
    config.churn = Some(Churn::measured().faster(300.0));
    config.partition_every = Some(Duration::from_secs(30));
    let draw = || {
        let mut population = Population::new(1, config.clone()).unwrap();
        let world = population.world();
        world.keep_chronicle();
        world.run_for(Duration::from_secs(240)).unwrap();
        (
            Timeline::of(world).svg(),
            world.statistics(),
            world.trace_hash(),
        )
    };
    let (svg, statistics, hash) = draw();
    assert_eq!(svg, draw().0, "the same run, the same bytes");
    let document = Document::parse(&svg).unwrap();
    in_bounds(&document);
    let texts = texts(&document);
    assert!(texts.contains(&"20 nodes, seed 1"));
    assert!(texts.contains(&format!("trace hash {hash}").as_str()));
    for host in 0..20 {
        assert!(texts.contains(&format!("h{host}").as_str()), "h{host}");
    }
    let count = |fault| statistics.faults.of(fault);
    for entry in [
        format!("process crash ({})", count(Fault::Crash)),
        format!("power loss ({})", count(Fault::PowerLoss)),
        format!("back with another key ({})", count(Fault::RestartAnew)),
        format!(
            "hosts parted ({})",
            count(Fault::Bisection) + count(Fault::OneWayPartition)
        ),
        format!("handshake done ({})", statistics.handshakes),
    ] {
        assert!(texts.contains(&entry.as_str()), "{entry} in {texts:?}");
    }
    // Marks tell when, where and what.
    let titles = titles(&document);
    for part in [
        ": power loss",
        ": process crash",
        ": dial failed: ",
        ": connection to h",
    ] {
        assert!(titles.iter().any(|title| title.contains(part)), "{part}");
    }
    assert!(
        titles
            .iter()
            .any(|title| title.starts_with("bisection, from "))
    );
}

#[test]
fn whatever_is_said_the_document_is_well_formed() {
    let hostile = "<&>\"'\u{0}\u{1b}[2J\r\n\u{ffff}]]><!--\u{202e}";
    let (mut world, hosts) = bare(&[
        hostile,
        "a name that is much too long to stand in the margin",
        "",
    ]);
    for host in &hosts {
        let (host, what) = (Some(*host), hostile.to_owned());
        world.moment(host, Moment::Up);
        world.moment(host, Moment::Failed { what: what.clone() });
        world.moment(host, Moment::DialFailed { why: what.clone() });
        let peer = hosts[0];
        world.moment(host, Moment::Connected { peer, dialed: true });
        world.moment(
            host,
            Moment::Disconnected {
                peer,
                orderly: false,
                why: what,
            },
        );
        world.moment(host, Moment::Violation { invariant: "I<1>" });
    }
    world.moment(
        None,
        Moment::Failed {
            what: hostile.to_owned(),
        },
    );
    for fault in Fault::ALL {
        world.moment(None, Moment::Fault(*fault));
        world.moment(Some(hosts[0]), Moment::Fault(*fault));
        world.moment(None, Moment::Healed(*fault));
    }
    // Strangers, and ends without beginnings.
    let stranger = bare(&["0", "1", "2", "3"]).1[3];
    world.moment(Some(stranger), Moment::Up);
    world.moment(Some(hosts[1]), Moment::Down { silently: true });
    world.moment(None, Moment::Healed(Fault::Bisection));
    let svg = Timeline::of(&world).title(hostile).subtitle(hostile).svg();
    let document = Document::parse(&svg).unwrap();
    in_bounds(&document);
    assert!(
        texts(&document)
            .iter()
            .any(|text| text.starts_with("<&>\"'\u{fffd}\u{fffd}[2J"))
    );
    assert!(
        titles(&document)
            .iter()
            .any(|title| title.contains("violated: I<1>"))
    );
}

#[test]
fn nothing_kept_and_nobody_there_is_a_picture_too() {
    let world = World::new(1);
    Document::parse(&Timeline::of(&world).svg()).unwrap();
    let (world, _) = bare(&[]);
    Document::parse(&Timeline::of(&world).svg()).unwrap();
}

#[test]
fn hosts_that_are_up_already_are_drawn_so() {
    let mut world = World::new(1);
    world.add(HostBuilder::standard("early")).unwrap();
    world.keep_chronicle();
    world.run_for(Duration::from_secs(10)).unwrap();
    let svg = Timeline::of(&world).svg();
    let document = Document::parse(&svg).unwrap();
    // The shade of no connections, over the whole row.
    let bar = document
        .descendants()
        .find(|node| node.has_tag_name("path") && node.attribute("class") == Some("s0"));
    assert!(
        bar.unwrap().attribute("d").unwrap().contains("h1056"),
        "{bar:?}"
    );
}

#[test]
fn many_rows_and_many_marks_are_left_out_and_that_is_told() {
    let names: Vec<String> = (0..300).map(|number| format!("node {number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut world, hosts) = bare(&names);
    let events = 400;
    for _ in 0..events {
        world.run_for(Duration::from_secs(60)).unwrap();
        for host in &hosts {
            world.moment(
                Some(*host),
                Moment::DialFailed {
                    why: "refused".into(),
                },
            );
        }
    }
    let svg = Timeline::of(&world).svg();
    let document = Document::parse(&svg).unwrap();
    in_bounds(&document);
    let texts = texts(&document);
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("Of 300 nodes the first 200 are drawn"))
    );
    assert!(
        texts.contains(&"dial failed (120000)"),
        "the legend counts all"
    );
    let marks = titles(&document)
        .iter()
        .filter(|title| title.contains("dial failed: refused"))
        .count();
    assert!((1000..=6000).contains(&marks), "{marks}");
    let left_out = format!("{} are left out so.", 200 * events - marks);
    assert!(
        texts.iter().any(|text| text.ends_with(&left_out)),
        "{left_out} in {texts:?}"
    );
    assert!(svg.len() < 2_000_000, "{}", svg.len());
    let few = Timeline::of(&world).rows(10).svg();
    assert!(few.contains("Of 300 nodes the first 10 are drawn"));
    assert!(few.contains(">node 9<") && !few.contains(">node 10<"));
}
