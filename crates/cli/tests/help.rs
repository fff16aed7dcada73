//! The help of every command is a contract: it changes on purpose only.

#[test]
fn help_of_every_command() {
    let mut text = String::new();
    // The version changes with every release, and the width must not depend on the terminal.
    render(omadm_cli::command().term_width(100).version("0"), "", &mut text);
    insta::assert_snapshot!(text);
}

fn render(mut command: clap::Command, before: &str, text: &mut String) {
    let path = format!("{before}{}", command.get_name());
    command = command.bin_name(path.clone());
    text.push_str(&format!("$ {path} --help\n{}\n\n", command.render_long_help().to_string().trim_end()));
    let below: Vec<_> = command.get_subcommands().filter(|sub| !sub.is_hide_set()).cloned().collect();
    for sub in below {
        render(sub.term_width(100), &format!("{path} "), text);
    }
}
