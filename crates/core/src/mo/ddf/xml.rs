//! A DDF file: the XML form of a definition, that of DM 1.3 (spec 10).
//!
//! Published DDFs are not all alike, so reading is tolerant where nothing is lost: a missing NodeName is a name given
//! at creation, a missing DDFName is made up for by the caller, a DOCTYPE is skipped (and no entity of its own is ever
//! expanded), and elements that say nothing about structure are ignored.

use super::{Access, Definition, MAX_NODE_DEPTH, NodeDef, Occurrence, Scope};
use crate::ids::Moid;
use crate::mo::value::Format;
use crate::uri::is_node_name;
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// The size of a DDF in bytes, at most.
pub const MAX_DDF_BYTES: usize = 1 << 20;

/// How many XML elements a DDF may have.
pub const MAX_DDF_ELEMENTS: usize = 50_000;

/// How deeply elements may be nested: a few more than nodes.
const MAX_ELEMENT_DEPTH: usize = MAX_NODE_DEPTH + 8;

/// Why a file is no DDF of one MO.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DdfError {
    /// More bytes than [`MAX_DDF_BYTES`].
    #[error("more than {MAX_DDF_BYTES} bytes")]
    TooLarge,
    /// More elements than [`MAX_DDF_ELEMENTS`].
    #[error("more than {MAX_DDF_ELEMENTS} elements")]
    TooManyElements,
    /// Nodes nested more deeply than [`MAX_NODE_DEPTH`].
    #[error("nodes nested more than {MAX_NODE_DEPTH} levels deep")]
    TooDeep,
    /// Not UTF-8.
    #[error("not UTF-8; convert it first")]
    NotUtf8,
    /// Not well-formed.
    #[error("not well-formed XML at byte {at}: {message}")]
    Xml {
        /// Where.
        at: u64,
        /// What the reader says.
        message: String,
    },
    /// The outermost element is not `MgmtTree`.
    #[error("MgmtTree is expected as the outermost element")]
    NotADdf,
    /// Not exactly one node in `MgmtTree`.
    #[error("one Node, the root of the MO, is expected in MgmtTree")]
    NotOneRoot,
    /// No MOID in the root's DDFName, and none given.
    #[error("the root's DFType has no DDFName that is a MOID; give the MOID")]
    NoMoid,
    /// A node that is not as expected.
    #[error("{place}: {expected} is expected")]
    Node {
        /// The names from the root to it.
        place: String,
        /// What it should have.
        expected: &'static str,
    },
}

impl Definition {
    /// Reads a DDF. If its root does not name the MOID, `moid` is taken.
    pub fn from_ddf(xml: &[u8], moid: Option<&Moid>) -> Result<Self, DdfError> {
        if xml.len() > MAX_DDF_BYTES {
            return Err(DdfError::TooLarge);
        }
        let text = std::str::from_utf8(xml).map_err(|_| DdfError::NotUtf8)?;
        let document = read_document(text.trim_start_matches('\u{feff}'))?;
        let [tree] = document.children.as_slice() else { return Err(DdfError::NotADdf) };
        if tree.name != "MgmtTree" {
            return Err(DdfError::NotADdf);
        }
        let mut nodes = tree.all("Node");
        let (Some(element), None) = (nodes.next(), nodes.next()) else { return Err(DdfError::NotOneRoot) };
        let named = element.at(&["DFProperties", "DFType", "DDFName"]).and_then(|name| name.text.trim().parse().ok());
        let moid = named.or_else(|| moid.cloned()).ok_or(DdfError::NoMoid)?;
        let mut root = read_node(element, &mut Vec::new())?;
        if root.format != Format::Node {
            return Err(DdfError::Node { place: root_name(&root, &moid), expected: "the format node" });
        }
        let root_name = root_name(&root, &moid);
        root.name = Some(root_name.clone());
        Ok(Self { moid, ddf: None, root_name, root, cacheable: true })
    }
}

/// The root's own name, else that of a registered MO, else the last part of the MOID before the version.
fn root_name(root: &NodeDef, moid: &Moid) -> String {
    let registered = || match moid.as_str() {
        super::DEVINFO => "DevInfo",
        super::DMACC => "DMAcc",
        super::DACMO => "DACMO",
        super::SESSIONINFO => "SessionInfo",
        super::FUMO => "FUMO",
        super::SCOMO => "SCOMO",
        other => other.rsplit(':').nth(1).unwrap_or(other),
    };
    root.name().unwrap_or_else(registered).to_owned()
}

fn read_node(element: &Element, above: &mut Vec<String>) -> Result<NodeDef, DdfError> {
    let name = element.child("NodeName").map(|name| name.text.trim());
    let name = name.filter(|name| !name.is_empty() && !is_placeholder(name));
    above.push(name.unwrap_or("<x>").to_owned());
    let malformed = |expected| DdfError::Node { place: above.join("/"), expected };
    if above.len() > MAX_NODE_DEPTH {
        return Err(DdfError::TooDeep);
    }
    if name.is_some_and(|name| !is_node_name(name)) {
        return Err(malformed("a NodeName that a node may have"));
    }
    let properties = element.child("DFProperties").ok_or(malformed("DFProperties"))?;
    let access = properties.child("AccessType").ok_or(malformed("AccessType"))?;
    let format = properties.at(&["DFFormat"]).and_then(|format| format.children.first());
    let format = format.and_then(|format| Format::ALL.into_iter().find(|known| known.as_str() == format.name));
    let format = format.ok_or(malformed("a known DFFormat"))?;
    let occurrence = match properties.child("Occurrence").and_then(|occurrence| occurrence.children.first()) {
        None => Some(Occurrence::One),
        Some(occurrence) => read_occurrence(occurrence),
    };
    let occurrence = occurrence.ok_or(malformed("a known Occurrence"))?;
    let scope = match properties.child("Scope").and_then(|scope| scope.children.first()) {
        None => Scope::Dynamic,
        Some(scope) if scope.name == "Dynamic" => Scope::Dynamic,
        Some(scope) if scope.name == "Permanent" => Scope::Permanent,
        Some(_) => return Err(malformed("the Scope Permanent or Dynamic")),
    };
    if format.is_leaf() && element.child("Node").is_some() {
        return Err(malformed("the format node, since there are nodes below it,"));
    }
    let mut children: Vec<NodeDef> = Vec::new();
    for element in element.all("Node") {
        let child = read_node(element, above)?;
        if children.iter().any(|other| other.name == child.name) {
            return Err(DdfError::Node { place: above.join("/"), expected: "each name once below it" });
        }
        children.push(child);
    }
    above.pop();
    let access = access.children.iter().fold(Access::NONE, |access, element| access | read_access(element));
    Ok(NodeDef { name: name.map(str::to_owned), format, access, occurrence, scope, children })
}

/// `<x>`, as some DDFs write it instead of an empty name.
fn is_placeholder(name: &str) -> bool {
    name.starts_with('<') && name.ends_with('>')
}

fn read_access(element: &Element) -> Access {
    match element.name.as_str() {
        "Add" => Access::ADD,
        "Delete" => Access::DELETE,
        "Exec" => Access::EXEC,
        "Get" => Access::GET,
        "Replace" => Access::REPLACE,
        _ => Access::NONE,
    }
}

fn read_occurrence(element: &Element) -> Option<Occurrence> {
    let n = || element.text.trim().parse().ok();
    match element.name.as_str() {
        "One" => Some(Occurrence::One),
        "ZeroOrOne" => Some(Occurrence::ZeroOrOne),
        "ZeroOrMore" => Some(Occurrence::ZeroOrMore),
        "OneOrMore" => Some(Occurrence::OneOrMore),
        "ZeroOrN" => n().map(Occurrence::ZeroOrN),
        "OneOrN" => n().map(Occurrence::OneOrN),
        _ => None,
    }
}

/// An XML element with the text directly in it.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    fn at(&self, path: &[&str]) -> Option<&Element> {
        path.iter().try_fold(self, |element, name| element.child(name))
    }
}

/// Reads all elements; the result stands for the document and holds the outermost ones.
fn read_document(text: &str) -> Result<Element, DdfError> {
    let mut reader = Reader::from_str(text);
    let mut open = vec![Element::default()];
    let mut count = 0;
    loop {
        let event = reader.read_event();
        let malformed = |message: String| DdfError::Xml { at: reader.buffer_position(), message };
        let event = event.map_err(|error| malformed(error.to_string()))?;
        if matches!(event, Event::Start(_) | Event::Empty(_)) {
            count += 1;
        }
        if count > MAX_DDF_ELEMENTS {
            return Err(DdfError::TooManyElements);
        }
        match event {
            Event::Start(start) => {
                if open.len() > MAX_ELEMENT_DEPTH {
                    return Err(DdfError::TooDeep);
                }
                open.push(Element { name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::Empty(empty) => {
                let element = Element { name: empty.local_name().as_ref().to_owned(), ..Element::default() };
                if let Some(parent) = open.last_mut() {
                    parent.children.push(element);
                }
            }
            Event::End(_) => {
                if let Some(element) = open.pop()
                    && let Some(parent) = open.last_mut()
                {
                    parent.children.push(element);
                }
            }
            Event::Text(text) => append(&mut open, &text),
            Event::CData(text) => append(&mut open, &text),
            Event::GeneralRef(reference) => {
                let meant = resolve(&reference).ok_or_else(|| malformed("an entity that is not known".to_owned()))?;
                append(&mut open, &meant);
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof if open.len() > 1 => return Err(malformed("it ends within an element".to_owned())),
            Event::Eof => return Ok(open.swap_remove(0)),
        }
    }
}

fn append(open: &mut [Element], text: &str) {
    if let Some(element) = open.last_mut() {
        element.text.push_str(text);
    }
}

/// A character reference or one of the five entities of XML itself.
fn resolve(reference: &BytesRef<'_>) -> Option<String> {
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Some(character.to_string()),
        Ok(None) => resolve_predefined_entity(reference).map(str::to_owned),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROPERTIES: &str = "<DFProperties><AccessType><Get/></AccessType><DFFormat><node/></DFFormat>";

    fn read(inside: &str) -> Result<Definition, DdfError> {
        let moid = "urn:x:thing:1.0".parse().unwrap();
        Definition::from_ddf(format!("<MgmtTree>{inside}</MgmtTree>").as_bytes(), Some(&moid))
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let definition = read(&format!(
            "<VerDTD>1.2</VerDTD><Man>M</Man><Node>{PROPERTIES}<DFTitle>a &amp; b</DFTitle></DFProperties>
             <Node><NodeName>&lt;X&gt;</NodeName><RTProperties><Format><chr/></Format></RTProperties><DFProperties>
             <AccessType><Get/><Copy/></AccessType><DFFormat><int/></DFFormat>
             <Occurrence><ZeroOrN>5</ZeroOrN></Occurrence></DFProperties></Node></Node>"
        ))
        .unwrap();
        assert_eq!((definition.moid().as_str(), definition.root_name()), ("urn:x:thing:1.0", "thing"));
        assert_eq!(definition.root().occurrence(), Occurrence::One);
        assert_eq!(definition.root().scope(), Scope::Dynamic);
        let child = definition.root().child("anything").unwrap();
        assert_eq!((child.name(), child.format(), child.access()), (None, Format::Int, Access::GET));
        assert_eq!(child.occurrence(), Occurrence::ZeroOrN(5));
    }

    #[test]
    fn the_doctype_is_skipped_and_its_entities_are_not_expanded() {
        let root = format!("<Node><NodeName>A</NodeName>{PROPERTIES}</DFProperties></Node>");
        let with = |doctype: &str, name: &str| {
            let xml = format!("{doctype}<MgmtTree>{}</MgmtTree>", root.replace('A', name).replace("Bccess", "Access"));
            Definition::from_ddf(xml.as_bytes(), Some(&"urn:x:thing:1.0".parse().unwrap()))
        };
        let doctype = "<?xml version=\"1.0\"?><!DOCTYPE MgmtTree [<!ENTITY b \"bbbb\">]>";
        assert_eq!(with(doctype, "A").unwrap().root_name(), "A");
        let bomb = root.replace("<NodeName>A<", "<NodeName>&b;<");
        let bomb = format!("{doctype}<MgmtTree>{bomb}</MgmtTree>");
        assert!(matches!(Definition::from_ddf(bomb.as_bytes(), None), Err(DdfError::Xml { .. })));
    }

    #[test]
    fn what_is_no_ddf_is_refused_with_the_place() {
        let node = |name: &str, rest: &str| format!("<Node><NodeName>{name}</NodeName>{rest}</Node>");
        let props = format!("{PROPERTIES}</DFProperties>");
        let leaf = props.replace("<node/>", "<chr/>");
        assert_eq!(read("").unwrap_err(), DdfError::NotOneRoot);
        assert_eq!(read(&node("A", &props).repeat(2)).unwrap_err(), DdfError::NotOneRoot);
        let unnamed = format!("<MgmtTree>{}</MgmtTree>", node("A", &props));
        assert_eq!(Definition::from_ddf(unnamed.as_bytes(), None).unwrap_err(), DdfError::NoMoid);
        assert_eq!(Definition::from_ddf(b"<A/>", None).unwrap_err(), DdfError::NotADdf);
        assert_eq!(Definition::from_ddf(b"", None).unwrap_err(), DdfError::NotADdf);
        assert_eq!(Definition::from_ddf(b"<MgmtTree>\xff</MgmtTree>", None).unwrap_err(), DdfError::NotUtf8);
        for broken in [&b"<MgmtTree>"[..], b"<MgmtTree></A>", b"<MgmtTree>&x;</MgmtTree>", b"<"] {
            assert!(matches!(Definition::from_ddf(broken, None), Err(DdfError::Xml { .. })), "{broken:?}");
        }
        let place = |inside: &str| read(&node("A", &format!("{props}{inside}"))).unwrap_err().to_string();
        assert!(place("<Node/>").starts_with("A/<x>: DFProperties"));
        assert!(place(&node("B", "<DFProperties/>")).starts_with("A/B: AccessType"));
        assert!(place(&node("B", &leaf.replace("chr", "blob"))).starts_with("A/B: a known DFFormat"));
        assert!(place(&node("B", &format!("{leaf}{}", node("C", &leaf)))).starts_with("A/B: the format node"));
        assert!(place(&node("B", &leaf).repeat(2)).starts_with("A: each name once"));
        assert!(read(&node("A", &leaf)).unwrap_err().to_string().starts_with("A: the format node"));
    }

    #[test]
    fn size_depth_and_number_are_bounded() {
        let nested = |n: usize| {
            let open = format!("<Node><NodeName>A</NodeName>{PROPERTIES}</DFProperties>").repeat(n);
            read(&(open + &"</Node>".repeat(n)))
        };
        assert!(nested(MAX_NODE_DEPTH).is_ok());
        assert_eq!(nested(MAX_NODE_DEPTH + 1).unwrap_err(), DdfError::TooDeep);
        assert_eq!(read(&"<A>".repeat(100_000)).unwrap_err(), DdfError::TooDeep);
        assert_eq!(read(&"<A/>".repeat(60_000)).unwrap_err(), DdfError::TooManyElements);
        assert_eq!(Definition::from_ddf(&vec![b' '; MAX_DDF_BYTES + 1], None).unwrap_err(), DdfError::TooLarge);
    }
}
