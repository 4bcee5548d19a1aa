//! A client without Plan object for conversations that are longer than their point.

use super::*;

/// A client that answers every Read and Observe from its resources, and what it saw besides.
#[derive(Default)]
pub(super) struct Client {
    resources: std::collections::BTreeMap<String, String>,
    /// Requests that are no GET, by method and path; each was answered 2.04.
    pub(super) done: Vec<(Code, String)>,
    pub(super) observe: Option<Token>,
    pub(super) reports: Vec<(State, Option<u16>)>,
    pub(super) asked: bool,
}

impl Client {
    pub(super) fn new(resources: &[(&str, &str)]) -> Client {
        let own = |(path, value): &(&str, &str)| ((*path).to_owned(), (*value).to_owned());
        Client {
            resources: resources.iter().map(own).collect(),
            ..Client::default()
        }
    }

    pub(super) fn set(&mut self, path: &str, value: &str) {
        self.resources.insert(path.to_owned(), value.to_owned());
    }

    /// Answers until there is nothing more to answer; what it told is durable at once.
    pub(super) fn converse(&mut self, world: &mut World) {
        loop {
            if let Some((id, call)) = world.calls.pop_front() {
                if let Call::Told {
                    reports, request, ..
                } = call
                {
                    let short = reports.iter().map(|report| (report.state, report.reason));
                    self.reports.extend(short);
                    self.asked |= request.is_some();
                }
                world.reply(id, Reply::Done);
            } else if !world.sent.is_empty() {
                let got = world.got();
                if got.kind != Kind::Con {
                    continue;
                }
                match self.resources.get(&got.path) {
                    Some(value) if got.code == Code::GET => {
                        self.observe = got.observe.map(|_| got.token).or(self.observe);
                        let value = value.clone();
                        world.ack(1, &got, Code::CONTENT, &value);
                    }
                    None if got.code == Code::GET => world.ack(1, &got, Code::NOT_FOUND, ""),
                    _ => {
                        self.done.push((got.code, got.path.clone()));
                        world.ack(1, &got, Code::CHANGED, "");
                    }
                }
            } else {
                return;
            }
        }
    }
}
