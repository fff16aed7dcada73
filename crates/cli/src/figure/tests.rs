use super::*;

const SMARTCARD: &str = include_str!("samples/smartcard.jsonl");
const CLIENT_INITIATED: &str = include_str!("samples/client-initiated.jsonl");

const STEP: &str = r#"{"ms":1,"from":"dm-client","to":"dm-server","label":"Package#1"}"#;

/// Compares with the committed picture; look at both and copy the new one over the old if it is the better.
fn is_drawn_as(name: &str, trace: &str, title: &str, committed: &str) {
    let drawn = svg(&parse(trace).unwrap(), title);
    if drawn != committed {
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, drawn).unwrap();
        panic!("{name} is drawn otherwise than samples/{name}: see {}", file.display());
    }
}

#[test]
fn the_smartcard_sample_is_drawn_as_committed() {
    let committed = include_str!("samples/smartcard.svg");
    is_drawn_as("smartcard.svg", SMARTCARD, "Bootstrap from the smartcard", committed);
}

#[test]
fn the_client_initiated_sample_is_drawn_as_committed() {
    let committed = include_str!("samples/client-initiated.svg");
    is_drawn_as("client-initiated.svg", CLIENT_INITIATED, "Client-initiated bootstrap", committed);
}

#[test]
fn a_step_is_read_back_from_what_it_is_written_as() {
    for step in parse(SMARTCARD).unwrap().steps() {
        let line = serde_json::to_string(step).unwrap();
        assert_eq!(parse(&line).unwrap().steps(), std::slice::from_ref(step));
    }
}

#[test]
fn what_is_no_trace_is_refused_with_its_line() {
    let told = |trace: &str| parse(trace).unwrap_err().to_string();
    assert_eq!(told(""), "the trace holds no step");
    assert_eq!(told(r#"{"meta":{"apdus":1}}"#), "the trace holds no step");
    assert!(told(&format!("{STEP}\n\nnonsense")).starts_with("line 3: expected"), "{}", told("nonsense"));
    assert!(told(&STEP.replace("dm-server", "mars")).contains("unknown variant `mars`"));
    assert!(told(&STEP.replace("label", "lable")).contains("unknown field `lable`"));
    assert!(told(r#"{"meta":{"apdu":1}}"#).contains("unknown field `apdu`"));
    assert!(told(&STEP.replace("\"ms\":1", "\"ms\":-1")).starts_with("line 1: "));
    assert_eq!(told("{\"meta\":{}}\n{\"meta\":{}}"), "line 2: the totals are given twice");
}

#[test]
fn a_trace_has_limits() {
    let long = STEP.replace("Package#1", &"x".repeat(MAX_TEXT + 1));
    assert_eq!(parse(&long), Err(TraceError::TextTooLong { line: 1, member: "label" }));
    let many = format!("{STEP}\n").repeat(MAX_STEPS);
    assert_eq!(parse(&many).unwrap().steps().len(), MAX_STEPS);
    assert_eq!(parse(&format!("{many}{STEP}")), Err(TraceError::TooManySteps(MAX_STEPS + 1)));
    assert_eq!(parse(&" ".repeat(MAX_TRACE + 1)), Err(TraceError::TooBig(MAX_TRACE + 1)));
    assert!(parse(&"[".repeat(100_000)).is_err());
}

#[test]
fn reading_in_blocks_is_one_arrow_with_a_number() {
    let drawn = svg(&parse(SMARTCARD).unwrap(), "");
    assert!(drawn.contains(">READ BINARY ×5<"));
    assert_eq!(drawn.matches(">READ BINARY<").count(), 2, "EF(ODF) and EF(DODF) are read apart");
}

#[test]
fn parts_follow_from_the_actors_or_from_their_names() {
    let drawn = svg(&parse(CLIENT_INITIATED).unwrap(), "");
    for name in
        ["The smartcard holds no message, but tells the network", "Client-initiated bootstrap", "Management session"]
    {
        assert_eq!(drawn.matches(&format!(">{name}</text>")).count(), 1, "{name}");
    }
    let begins_alone = "{\"ms\":0,\"from\":\"client\",\"to\":\"client\",\"label\":\"Start\"}\n\
                        {\"ms\":1,\"from\":\"client\",\"to\":\"card\",\"label\":\"SELECT\"}";
    let drawn = svg(&parse(begins_alone).unwrap(), "");
    assert_eq!(drawn.matches(">Smartcard bootstrap</text>").count(), 1);
    assert!(!drawn.contains("In the device"));
}

#[test]
fn totals_stand_below_where_they_are_known() {
    let drawn = svg(&parse(SMARTCARD).unwrap(), "");
    assert!(drawn.contains("In all 15 APDUs, 6 round trips, 9,412 bytes, 187 ms."));
    let drawn = svg(&parse(&format!("{STEP}\n{{\"meta\":{{\"round_trips\":1}}}}")).unwrap(), "");
    assert!(drawn.contains("In all 1 round trip."));
    assert!(!svg(&parse(STEP).unwrap(), "").contains("In all"));
}

#[test]
fn every_text_has_room_between_its_lifelines_and_in_the_figure() {
    let long = STEP.replace("Package#1", &"wide WORDS and more ".repeat(19));
    let alone = long.replace("dm-server", "dm-client");
    for trace in [SMARTCARD, CLIENT_INITIATED, &long, &alone] {
        let trace = parse(trace).unwrap();
        let layout = layout::lay_out(&trace, "A title of many words ".repeat(9).as_str(), 100);
        for placed in layout.bands.iter().flat_map(|band| &band.rows) {
            let (middle, half) = ((placed.from + placed.to) / 2, placed.width / 2);
            assert!(placed.from == placed.to || placed.width < (placed.to - placed.from).abs());
            assert!(middle - half > layout::MARGIN + 66 && middle + half < layout.width - layout::MARGIN);
        }
        assert!(layout.title.iter().all(|line| text::width(line, text::Face::Title) <= layout.width));
    }
}

#[test]
fn hostile_text_is_shown_and_not_obeyed() {
    let hostile = STEP
        .replace("Package#1", r#"</text><script>alert(1)</script>\u0000\u202e]]>&x;"#)
        .replace('}', r#","note":"\"><a href='x'>\n\n","phase":"<b>\"'"}"#);
    let drawn = svg(&parse(&hostile).unwrap(), "<title>&\"");
    for markup in ["<script", "<a ", "<b>", "&x;", "\u{0}", "\u{202e}", "<title>&\""] {
        assert!(!drawn.contains(markup), "{markup}");
    }
    assert!(drawn.contains("&lt;script&gt;"));
    // Each tag that is opened is closed.
    let opened = drawn.matches('<').count() - drawn.matches("</").count() - drawn.matches("/>").count();
    assert_eq!(opened, drawn.matches("</").count());
}
