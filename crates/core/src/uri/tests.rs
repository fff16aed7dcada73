use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> ClientUri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn name(text: &str) -> Segment {
    Segment::Name(text.to_owned())
}

/// The examples of spec 7.
const EXAMPLES: [&str; 10] = [
    "urn:x:1.0/left/",
    "urn:x:1.0//",
    "urn:x:1.0/(x)/?nv=(x)/ID:Temperature",
    "urn:x:1.0/(x)/Data/1/Value?nv=(x)/ID:GPS",
    "urn:x:1.0/right/Data/(x)/Value?nv=(x)/Date:12.1",
    "urn:x:1.0/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2",
    "urn:x:1.0/*/Setting",
    "urn:x:1.0/(x)/Data/*/Value?nv=(x)/ID:GPS",
    "urn:x:1.0/(x)/Data/*/Value?nv=(x)/ID:GPS&nv=(x)/Setting:0xB2",
    "urn:x:1.0/*/Data/*/Value",
];

#[test]
fn the_examples_are_canonical() {
    for text in EXAMPLES {
        assert_eq!(parse(text).to_string(), text);
    }
}

#[test]
fn the_parts_are_told_apart() {
    let uri = parse("urn:x:1.0/(x)/Data/(y)/*/Value?nv=(x)/ID:GPS&nv=(y)/A/B:12:2&cv=a%26b");
    assert_eq!(uri.moid().as_str(), "urn:x:1.0");
    assert_eq!(*uri.instance(), InstanceSegment::XName(XName('x')));
    assert_eq!(uri.path(), [name("Data"), Segment::XName(XName('y')), Segment::All, name("Value")]);
    assert_eq!(uri.conditions()[1].path, ["A", "B"]);
    assert_eq!(uri.conditions()[1].value, "12:2");
    assert_eq!((uri.cv(), uri.miid(), uri.is_root(), uri.has_wildcard()), (Some("a&b"), None, false, true));

    let root = parse("urn:x:1.0//");
    assert!(root.is_root() && *root.instance() == InstanceSegment::Only);
    assert_eq!(parse("urn:x:1.0/left/").miid().map(Miid::as_str), Some("left"));
    assert_eq!(ClientUri::of_root(root.moid(), &"left".parse().unwrap()).to_string(), "urn:x:1.0/left/");
}

#[test]
fn encoded_delimiters_are_part_of_a_name() {
    let uri = parse("urn:x:1.0/left/%28x%29/%2A/a%2Fb/%C3%A9/(xy)/(1)");
    assert_eq!(uri.path(), ["(x)", "*", "a/b", "\u{e9}", "(xy)", "(1)"].map(name));
    assert_eq!(uri.to_string(), "urn:x:1.0/left/%28x%29/%2A/a%2Fb/%C3%A9/%28xy%29/%281%29");

    let uri = parse("urn:x:1.0/(x)/?nv=(x)/a%3Ab/c:%3Ad%26");
    let condition = &uri.conditions()[0];
    assert_eq!(
        (condition.path.as_slice(), condition.value.as_str()),
        (["a:b", "c"].map(String::from).as_slice(), ":d&")
    );
    assert_eq!(parse("urn:x:1.0/%6Ceft/A%2DB?%63v=1"), parse("urn:x:1.0/left/A-B?cv=1"));
    assert_eq!(parse("urn:x:1.0/left/A?cv=a+b").cv(), Some("a+b"));
}

#[test]
fn what_breaks_the_grammar_is_refused_with_its_reason() {
    use UriError::*;
    type Expected = fn(&UriError) -> bool;
    let table: &[(&str, Expected)] = &[
        ("urn:x:1.0", |e| *e == NoInstance),
        ("urn:x:1.0/left", |e| *e == NoInstance),
        ("left//", |e| matches!(e, Moid(_))),
        ("urn:x%3A1.0//", |e| matches!(e, Moid(_))),
        ("urn:x:1.0/%28x%29/", |e| matches!(e, Instance(_))),
        ("urn:x:1.0/../", |e| matches!(e, Instance(_))),
        ("urn:x:1.0/left/a b", |e| *e == Character { at: 16 }),
        ("urn:x:1.0/left/a#b", |e| *e == Character { at: 16 }),
        ("urn:x:1.0/left/\u{e9}", |e| *e == Character { at: 15 }),
        ("urn:x:1.0/left/%4", |e| *e == Percent { at: 15 }),
        ("urn:x:1.0/left/%zz", |e| *e == Percent { at: 15 }),
        ("urn:x:1.0/left/%FF", |e| matches!(e, Utf8 { .. })),
        ("urn:x:1.0/left/a/", |e| matches!(e, Name { .. })),
        ("urn:x:1.0/left//a", |e| matches!(e, Name { .. })),
        ("urn:x:1.0/left/%2E%2E", |e| matches!(e, Name { .. })),
        ("urn:x:1.0/left/%00", |e| matches!(e, Name { .. })),
        ("urn:x:1.0/left/?", |e| matches!(e, UnknownField { .. })),
        ("urn:x:1.0/left/?xv=1", |e| matches!(e, UnknownField { .. })),
        ("urn:x:1.0/left/?cv=1&", |e| matches!(e, UnknownField { .. })),
        ("urn:x:1.0/left/?cv=1&cv=1", |e| *e == SecondValidator),
        ("urn:x:1.0/(x)/", |e| *e == NoCondition { letter: 'x' }),
        ("urn:x:1.0/(x)/?nv=(X)/ID:1", |e| *e == NoCondition { letter: 'x' }),
        ("urn:x:1.0/left/?nv=(x)/ID:1", |e| *e == UnusedLetter { letter: 'x' }),
        ("urn:x:1.0/(x)/A/(x)?nv=(x)/ID:1", |e| *e == RepeatedLetter { letter: 'x' }),
        ("urn:x:1.0/left/?cv", |e| matches!(e, UnknownField { .. })),
        ("urn:x:1.0/(x)/?nv=(x)/ID", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=(x):1", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=x/ID:1", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=%28x%29/ID:1", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=(x)/*/ID:1", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=(x)/(y)/ID:1", |e| matches!(e, Condition { .. })),
        ("urn:x:1.0/(x)/?nv=(x)/:1", |e| matches!(e, Name { .. })),
    ];
    for (uri, expected) in table {
        let error = uri.parse::<ClientUri>().expect_err(uri);
        assert!(expected(&error), "{uri}: {error:?}");
    }
}

#[test]
fn length_and_conditions_are_bounded() {
    let long = |n: usize| format!("urn:x:1.0/left/{}", vec!["a".repeat(100); n].join("/"));
    assert!(long(20).parse::<ClientUri>().is_ok());
    assert_eq!(long(21).parse::<ClientUri>(), Err(UriError::TooLong));
    // Three times as long when written canonically.
    let short = format!("urn:x:1.0/left/{}", vec!["(".repeat(200); 5].join("/"));
    assert_eq!(short.parse::<ClientUri>(), Err(UriError::TooLong));
    let conditions = |n: usize| format!("urn:x:1.0/(x)/?{}", vec!["nv=(x)/A:1"; n].join("&"));
    assert!(conditions(16).parse::<ClientUri>().is_ok());
    assert_eq!(conditions(17).parse::<ClientUri>(), Err(UriError::TooManyConditions));
    let name = |n: usize| format!("urn:x:1.0/left/{}", "a".repeat(n)).parse::<ClientUri>();
    assert!(name(255).is_ok() && name(256).is_err());
}

#[test]
fn a_missing_urn_is_forgiven_only_when_asked_for() {
    assert_eq!(parse_lenient("x:1.0/left/A"), Ok(parse("urn:x:1.0/left/A")));
    assert_eq!(parse_lenient("urn:x:1.0/left/A"), Ok(parse("urn:x:1.0/left/A")));
    assert!("x:1.0/left/A".parse::<ClientUri>().is_err());
    assert_eq!(parse_lenient(&"x".repeat(1 << 20)), Err(UriError::TooLong));
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9]{1,8}",
        r"[ -~]{1,8}",
        r"\PC{1,4}",
        Just("(x)".to_owned()),
        Just("*".to_owned()),
        Just("a:b&c=d/e?f%20".to_owned())
    ]
    .prop_filter("node names", |name| is_node_name(name))
}

fn any_uri() -> impl Strategy<Value = ClientUri> {
    let segment = prop_oneof![4 => any_name().prop_map(Some), 1 => Just(None)];
    let path = prop::collection::vec(segment, 0..6);
    let letters = Just(('a'..='z').collect::<Vec<_>>()).prop_shuffle();
    let conditions = prop::collection::vec((prop::collection::vec(any_name(), 1..3), r"\PC{0,8}"), 3);
    let cv = prop::option::of(r"\PC{0,8}");
    let instance = prop_oneof!["[a-z]{1,4}".prop_map(Some), Just(None)];
    (instance, path, prop::collection::vec(0..6_usize, 0..3), letters, conditions, cv, any::<bool>()).prop_map(
        |(instance, path, holes, letters, conditions, cv, all)| {
            let mut path: Vec<_> = path.into_iter().map(|name| name.map_or(Segment::All, Segment::Name)).collect();
            let mut used = Vec::new();
            for (hole, letter) in holes.into_iter().zip(letters) {
                if let Some(segment) = path.get_mut(hole)
                    && !matches!(segment, Segment::XName(_))
                {
                    *segment = Segment::XName(XName(letter));
                    used.push(XName(letter));
                }
            }
            let conditions = used.iter().zip(conditions);
            ClientUri {
                moid: "urn:x:1.0".parse().unwrap(),
                instance: match instance {
                    Some(miid) => InstanceSegment::Miid(miid.parse().unwrap()),
                    None if all => InstanceSegment::All,
                    None => InstanceSegment::Only,
                },
                path,
                conditions: conditions
                    .map(|(x_name, (path, value))| Condition { x_name: *x_name, path, value })
                    .collect(),
                cv,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(uri in any_uri()) {
        prop_assert_eq!(uri.to_string().parse(), Ok(uri));
    }

    #[test]
    fn random_text_never_panics_and_what_is_accepted_has_one_canonical_text(text in r"(urn:x:1)?[/a-c()*?&=:%2A.]{0,40}|\PC{0,40}") {
        if let Ok(uri) = text.parse::<ClientUri>() {
            let canonical = uri.to_string();
            prop_assert_eq!(canonical.parse(), Ok(uri.clone()));
            prop_assert_eq!(parse_lenient(&text), Ok(uri));
        }
    }

    #[test]
    fn mutated_examples_never_panic(example in prop::sample::select(&EXAMPLES[..]), at in 0..60_usize, with in r"[ -~]{0,3}") {
        let at = at.min(example.len());
        let text = format!("{}{with}{}", &example[..at], &example[at..]);
        if let Ok(uri) = text.parse::<ClientUri>() {
            prop_assert_eq!(uri.to_string().parse(), Ok(uri));
        }
    }
}
