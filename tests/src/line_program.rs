//! A program of a client, driven by the tests line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A program that answers each line with a line. It does not outlive its test.
#[derive(Debug)]
pub struct LineProgram {
    child: Child,
    input: ChildStdin,
    output: Option<BufReader<ChildStdout>>,
}

impl LineProgram {
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output: Some(output) }
    }

    pub async fn ask(&mut self, line: &Value) -> Value {
        writeln!(self.input, "{line}").expect("the program reads");
        let mut output = self.output.take().expect("one line is asked at a time");
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).map(|_| (line, output))
        });
        let (answer, output) = reading.await.expect("it does not panic").expect("a pipe can be read");
        self.output = Some(output);
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("the program said {answer:?}: {error}"))
    }
}

impl Drop for LineProgram {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
