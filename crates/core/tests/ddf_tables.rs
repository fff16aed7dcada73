//! The constant tables of definitions are what `ddf/*.xml` say.
//!
//! After a change of these, or for another one: `OMADM_WRITE_TABLES=1 cargo test -p omadm-core --features ddf-xml
//! --test ddf_tables`.

#![allow(clippy::unwrap_used, reason = "a test")]

use omadm_core::mo::{Access, Definition, Definitions, NodeDef, Occurrence};
use std::fmt::Write;
use std::path::Path;

const FILES: [&str; 7] = ["devinfo", "dmacc", "sessioninfo", "fumo", "scomo", "dacmo", "example"];

const HEAD: &str = "\
//! Generated from `ddf/*.xml` by the test `ddf_tables`; not to be edited.

use super::Occurrence::{One, OneOrMore, ZeroOrMore, ZeroOrOne};
use super::Scope::{Dynamic, Permanent};
use super::{Access, Format, Occurrence, Row, Scope};

const NONE: Access = Access::NONE;
const A: Access = Access::ADD;
const D: Access = Access::DELETE;
const E: Access = Access::EXEC;
const G: Access = Access::GET;
const R: Access = Access::REPLACE;

const fn row(
    depth: u8,
    name: &'static str,
    format: Format,
    access: Access,
    occurrence: Occurrence,
    scope: Scope,
) -> Row {
    Row { depth, name, format, access, occurrence, scope }
}
";

fn definition(file: &str) -> Definition {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ddf").join(format!("{file}.xml"));
    Definition::from_ddf(&std::fs::read(&path).unwrap(), None).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn access(access: Access) -> String {
    let letters =
        [(Access::ADD, "A"), (Access::DELETE, "D"), (Access::EXEC, "E"), (Access::GET, "G"), (Access::REPLACE, "R")];
    let mut names = letters.into_iter().filter(|(bit, _)| access.contains(*bit)).map(|(_, name)| name);
    let first = names.next().unwrap_or("NONE").to_owned();
    names.fold(first, |text, name| format!("{text}.with({name})"))
}

fn occurrence(occurrence: Occurrence) -> String {
    match occurrence {
        Occurrence::One | Occurrence::ZeroOrOne | Occurrence::ZeroOrMore | Occurrence::OneOrMore => {
            format!("{occurrence:?}")
        }
        Occurrence::ZeroOrN(_) | Occurrence::OneOrN(_) => format!("Occurrence::{occurrence:?}"),
    }
}

fn rows(text: &mut String, node: &NodeDef, depth: usize) {
    writeln!(
        text,
        "    row({depth}, {:?}, Format::{:?}, {}, {}, {:?}),",
        node.name().unwrap_or("<x>"),
        node.format(),
        access(node.access()),
        occurrence(node.occurrence()),
        node.scope()
    )
    .unwrap();
    for child in node.children() {
        rows(text, child, depth + 1);
    }
}

fn tables() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n/// MOIDs and their tables.\npub(super) static TABLES: &[(&str, &[Row])] = &[\n");
    for file in FILES {
        writeln!(text, "    (super::{0}, {0}_ROWS),", file.to_uppercase()).unwrap();
    }
    text.push_str("];\n");
    for file in FILES {
        writeln!(text, "\n#[rustfmt::skip]\nstatic {}_ROWS: &[Row] = &[", file.to_uppercase()).unwrap();
        rows(&mut text, definition(file).root(), 0);
        text.push_str("];\n");
    }
    text
}

#[test]
fn the_tables_are_what_the_ddf_files_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/mo/ddf/tables.rs");
    let generated = tables();
    if std::env::var_os("OMADM_WRITE_TABLES").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap();
    assert!(present == generated, "src/mo/ddf/tables.rs is not what ddf/*.xml give; see the head of this test");
}

#[test]
fn the_definitions_from_tables_and_files_are_equal() {
    let standard = Definitions::standard();
    for file in FILES {
        let from_file = definition(file);
        let from_table = standard.get(from_file.moid()).unwrap();
        assert_eq!(from_file.root(), from_table.root(), "{file}");
        assert_eq!(from_file.root_name(), from_table.root_name(), "{file}");
    }
}
