//! Names of programs that act as users, and of sessions: CloudWatchAgent, GitHubActions. They say what happened, and stay.

/// What the last word of such a name says.
const ENDS: [&str; 17] = [
    "Agent",
    "Service",
    "Manager",
    "Alerts",
    "Scheduler",
    "Controller",
    "Collector",
    "Monitor",
    "Actions",
    "Investigation",
    "Intel",
    "Formation",
    "Pipeline",
    "Connector",
    "Runner",
    "Worker",
    "Daemon",
];

/// Whether the text is the name of a program: capitalised words without a blank, of which the last says what it does; or a bot.
pub fn is_program(text: &str) -> bool {
    let letters = text.bytes().all(|b| b.is_ascii_alphabetic());
    text.ends_with("[bot]") || letters && ENDS.iter().any(|end| text.len() > end.len() + 2 && text.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_from_persons() {
        for text in ["CloudWatchAgent", "GitHubActions", "dependabot[bot]", "AWSCloudFormation"] {
            assert!(is_program(text), "{text}");
        }
        for text in ["aaron.cole", "AaronCole", "Agent", "agent", "service7Agent", "J.Manager"] {
            assert!(!is_program(text), "{text}");
        }
    }
}
