//! How the demo looks on a terminal: colours only where they are wanted.

use std::io::IsTerminal;
use std::sync::OnceLock;

const BOLD: &str = "1";
const DIM: &str = "2";
const GREEN: &str = "32";
const CYAN: &str = "36";

fn colours() -> bool {
    static COLOURS: OnceLock<bool> = OnceLock::new();
    *COLOURS.get_or_init(|| std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none())
}

fn paint(colour: &str, text: &str) -> String {
    if colours() { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The demo's name.
pub(super) fn title(text: &str) {
    println!("{}", paint(BOLD, text));
}

/// A new scene.
pub(super) fn scene(text: &str) {
    println!("\n{} {}", paint(CYAN, "──"), paint(BOLD, text));
}

/// What a program says of itself.
pub(super) fn says(who: &str, what: &str) {
    println!("  {} {what}", paint(CYAN, &format!("{who:<20}")));
}

/// A word to the reader.
pub(super) fn remark(text: &str) {
    println!("  {}", paint(DIM, text));
}

/// A line to copy.
pub(super) fn line(text: &str) {
    println!("    {text}");
}

/// Something that was checked and holds.
pub(super) fn good(text: &str) {
    println!("  {} {text}", paint(GREEN, "✓"));
}

/// A command and what it printed.
pub(super) fn command(command: &str, output: &str) {
    println!("  {}", paint(BOLD, &format!("$ {command}")));
    for text in output.lines() {
        println!("    {text}");
    }
}
