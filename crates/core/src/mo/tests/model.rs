//! A naive model of the resolver, of another shape than the real one, beside it.
//!
//! The model knows no nodes, only a flat list of what there is: `(names from the MIID on, text of the leaf)`. It
//! rewrites the URI, one place at a time from the left, into a list of literal paths.

use super::serializing::any_root;
use super::*;
use crate::uri::{Condition, InstanceSegment, Segment, XName};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Paths = BTreeMap<Vec<String>, Option<String>>;

/// Everything that there is: paths with the text that GET shows, `None` for interior nodes and what cannot be read.
fn flat(device: &Device) -> Paths {
    fn add(paths: &mut Paths, definition: &NodeDef, node: &Node, path: Vec<String>) {
        let shown = match node {
            Node::Leaf(value) if definition.allows(Access::GET) => match value {
                Value::Null => None,
                Value::Bool(value) => Some(value.to_string()),
                Value::Int(number) => Some(number.to_string()),
                Value::Float(number) => Some(number.to_string()),
                Value::Chr(text) | Value::Xml(text) | Value::Date(text) | Value::Time(text) => Some(text.clone()),
                Value::Bin(_) | Value::B64(_) => None,
            },
            Node::Leaf(_) | Node::Interior(_) => None,
        };
        for (name, child) in node.children().into_iter().flatten() {
            let below = path.iter().cloned().chain([name.clone()]).collect();
            add(paths, definition.child(name).unwrap(), child, below);
        }
        paths.insert(path, shown);
    }
    let mut paths = Paths::new();
    let definition = device.definitions.get(&moid(X)).unwrap().clone();
    for (miid, instance) in device.tree.instances(&moid(X)) {
        add(&mut paths, definition.root(), instance.root(), vec![miid.to_string()]);
    }
    paths
}

fn segments(uri: &ClientUri) -> Vec<Option<Segment>> {
    let instance = match uri.instance() {
        InstanceSegment::Miid(miid) => Some(Segment::Name(miid.to_string())),
        InstanceSegment::XName(x_name) => Some(Segment::XName(*x_name)),
        InstanceSegment::All => Some(Segment::All),
        InstanceSegment::Only => None,
    };
    [instance].into_iter().chain(uri.path().iter().cloned().map(Some)).collect()
}

fn holds(paths: &Paths, at: &[String], conditions: &[Condition], x_name: XName) -> bool {
    conditions.iter().filter(|condition| condition.x_name == x_name).all(|condition| {
        let leaf: Vec<_> = at.iter().chain(&condition.path).cloned().collect();
        paths.get(&leaf).is_some_and(|shown| shown.as_deref() == Some(condition.value.as_str()))
    })
}

/// The literal paths that exist and that the URI means, or the status.
fn model(paths: &Paths, uri: &ClientUri) -> Result<Vec<Vec<String>>, StatusCode> {
    let mut meant: Vec<Vec<String>> = vec![Vec::new()];
    for segment in segments(uri) {
        let mut next = Vec::new();
        for prefix in &meant {
            let length = prefix.len() + 1;
            let here = || paths.keys().filter(|path| path.len() == length && path.starts_with(prefix)).cloned();
            let found: Vec<_> = match &segment {
                Some(Segment::Name(name)) => here().filter(|path| path.last() == Some(name)).collect(),
                Some(Segment::XName(x_name)) => {
                    here().filter(|path| holds(paths, path, uri.conditions(), *x_name)).collect()
                }
                Some(Segment::All) | None => here().collect(),
            };
            if found.len() > 1 && segment != Some(Segment::All) {
                return Err(StatusCode::CONFLICT);
            }
            next.extend(found);
        }
        meant = next;
    }
    if meant.is_empty() { Err(StatusCode::NOT_FOUND) } else { Ok(meant) }
}

/// What GET does with what the model means.
fn read(device: &Device, paths: &Paths, uri: &ClientUri) -> Result<Vec<String>, StatusCode> {
    let definition = device.definitions.get(&moid(X)).unwrap();
    let mut uris = Vec::new();
    for path in model(paths, uri)? {
        let node = path[1..].iter().try_fold(definition.root(), |node, name| node.child(name)).unwrap();
        if node.allows(Access::GET) {
            uris.push(ClientUri::of_node(&moid(X), &miid(&path[0]), &path[1..]).to_string());
        } else if !uri.has_wildcard() {
            return Err(StatusCode::NOT_ALLOWED);
        }
    }
    if uris.is_empty() { Err(StatusCode::NOT_FOUND) } else { Ok(uris) }
}

/// URIs that often mean something in a tree of `any_root`.
fn any_uri() -> impl Strategy<Value = String> {
    let instance = prop::sample::select(vec!["a", "b", "", "*", "(x)", "c"]);
    let below = prop::sample::select(vec![
        "",
        "ID",
        "*",
        "(y)",
        "Data",
        "Data/*",
        "Data/1",
        "Data/(y)",
        "Data/(y)/Date",
        "Data/*/Value",
        "Data/*/*",
        "Data/1/Date",
        "Setting",
        "Hidden",
        "Nothing",
        "*/1",
        "*/*/Date",
        "(y)/(z)/Date",
        "*/(z)",
        "Data/1/Date/More",
    ]);
    let text = || prop::sample::select(vec!["p", "p", "q", "1", "true", ""]);
    let of_instance = prop::sample::select(vec!["ID", "Setting", "Number", "Flag", "Data/1/Date", "Hidden"]);
    let of_path = prop::sample::select(vec!["Date", "Date", "Value", "1/Date", "2/Value", "Date/No"]);
    (instance, below, (of_instance, text()), prop::collection::vec((of_path, text()), 2..=3)).prop_map(
        |(instance, below, (path, value), more)| {
            let mut fields = Vec::new();
            if instance == "(x)" {
                fields.push(format!("nv=(x)/{path}:{value}"));
            }
            for (i, (path, value)) in more.iter().enumerate() {
                let letter = ["(y)", "(z)"][i % 2];
                if below.contains(letter) {
                    fields.push(format!("nv={letter}/{path}:{value}"));
                }
            }
            let mark = if fields.is_empty() { "" } else { "?" };
            format!("{X}/{instance}/{below}{mark}{}", fields.join("&"))
        },
    )
}

/// Roots in which the same few texts stand everywhere, so that conditions hold now and then.
fn small_root() -> impl Strategy<Value = Node> {
    (any_root(), prop::collection::vec(prop::sample::select(vec!["p", "p", "q", ""]), 12)).prop_map(
        |(mut root, texts)| {
            fn fill(node: &mut Node, texts: &mut dyn Iterator<Item = &'static str>) {
                match node {
                    Node::Leaf(Value::Chr(text)) => *text = texts.next().unwrap_or("p").to_owned(),
                    Node::Leaf(Value::Int(number)) => *number = number.signum(),
                    Node::Leaf(_) => {}
                    Node::Interior(children) => children.values_mut().for_each(|child| fill(child, texts)),
                }
            }
            fill(&mut root, &mut texts.into_iter());
            root
        },
    )
}

fn device_of(roots: &[Node]) -> (Device, Server) {
    let (mut device, acme) = (Device::new(), Server::new("acme", &[X]));
    let definition = device.definitions.get(&moid(X)).unwrap().clone();
    for (name, root) in ["a", "b", "d"].iter().zip(roots) {
        let item = SerializedMo::of_instance(&definition, &miid(name), root);
        let made = device.hget(&acme, &[], &String::from_utf8(to_json_bytes(&[item])).unwrap());
        assert_eq!(made.unwrap(), [format!("{X}/{name}/")]);
    }
    (device, acme)
}

fn any_body() -> impl Strategy<Value = String> {
    let data = prop::sample::select(vec![
        r#"{"ID":"p"}"#,
        r#"{"ID":"q","Data":{"1":{"Date":"p"}},"Setting":"p"}"#,
        r#"{"Data":{}}"#,
        r#"{"Data":{"1":{"Date":"q","Value":"q"},"2":{"Date":"q"}}}"#,
        r#"{"Data":{"1":{"Date":"p"}}}"#,
        r#"{"Setting":"q"}"#,
        r#"{"Nothing":null}"#,
        r#"{"Hidden":"x"}"#,
        r#"{"Number":"x"}"#,
    ]);
    data.prop_map(|data| format!(r#"{{"MOData":{{"X":{data}}}}}"#))
}

#[derive(Debug, Clone)]
enum Command {
    Get(String),
    Hget(Vec<String>, Vec<String>),
    Delete(String),
}

fn any_command() -> impl Strategy<Value = Command> {
    prop_oneof![
        any_uri().prop_map(Command::Get),
        any_uri().prop_map(Command::Delete),
        prop::collection::vec((any_uri(), any_body()), 1..4).prop_map(|pairs| {
            let (targets, bodies) = pairs.into_iter().unzip();
            Command::Hget(targets, bodies)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn the_resolver_means_what_the_model_means(
        roots in prop::collection::vec(small_root(), 0..4),
        texts in prop::collection::vec(any_uri(), 8),
    ) {
        let (device, acme) = device_of(&roots);
        let paths = flat(&device);
        for text in texts {
            let expected = read(&device, &paths, &uri(&text));
            prop_assert_eq!(device.uris(&acme, &text), expected, "{}", text);
        }
    }

    #[test]
    fn delete_takes_away_exactly_what_the_model_means(
        roots in prop::collection::vec(small_root(), 1..4),
        text in any_uri(),
    ) {
        let (mut device, acme) = device_of(&roots);
        let before = flat(&device);
        let meant = model(&before, &uri(&text));
        match device.delete(&acme, &text) {
            Ok(()) => {
                let meant = meant.unwrap();
                let is_gone = |path: &Vec<String>| meant.iter().any(|gone| path.starts_with(gone));
                let left: Paths = before.into_iter().filter(|(path, _)| !is_gone(path)).collect();
                prop_assert_eq!(flat(&device), left);
            }
            Err(StatusCode::NOT_ALLOWED) => {
                // Only ID must stay in these trees.
                prop_assert!(meant.unwrap().iter().any(|path| path.len() == 2 && path[1] == "ID"));
            }
            Err(status) => prop_assert_eq!(Err(status), meant),
        }
    }

    /// The helpers compare the tree before and after each command that fails.
    #[test]
    fn commands_in_any_order_keep_the_tree_sound(
        roots in prop::collection::vec(small_root(), 1..3),
        commands in prop::collection::vec(any_command(), 1..12),
    ) {
        let (mut device, acme) = device_of(&roots);
        for command in commands {
            let _ = match command {
                Command::Get(text) => device.get(&acme, &text).map(drop),
                Command::Delete(text) => device.delete(&acme, &text),
                Command::Hget(targets, bodies) => {
                    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
                    device.hget(&acme, &targets, &format!("[{}]", bodies.join(","))).map(drop)
                }
            };
            // Every instance is still one that could be made as it is.
            let definition = device.definitions.get(&moid(X)).unwrap();
            for (miid, instance) in device.tree.instances(&moid(X)) {
                let item = SerializedMo::of_instance(definition, miid, instance.root());
                prop_assert_eq!(&item.to_node(definition).unwrap(), instance.root());
                prop_assert_eq!(instance.owner(), &Owner::Server(acme.srv_id.clone()));
            }
        }
    }
}
