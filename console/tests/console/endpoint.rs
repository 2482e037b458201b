//! The endpoint: who is let in, what each route does and refuses, and its end.

use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};
use tidegate_console::{ControlFile, Refusal, RefusalKind};

use crate::fake::{Served, lock};
use crate::http::{Answer, ask};

fn header(served: &Served) -> String {
    ControlFile::read(&served.state_dir()).expect("a control file").token.header()
}

fn get(served: &Served, request: &str) -> Answer {
    let address = served.endpoint.as_ref().expect("served").address();
    ask(address, request, Some(&header(served)))
}

#[test]
fn every_route_asks_for_the_token_and_does_nothing_without_it() {
    let served = Served::new();
    let address = served.endpoint.as_ref().expect("served").address();
    assert!(address.ip().is_loopback());
    let right = header(&served);
    let nearly = format!("{}0", &right[..right.len() - 1]);
    let wrong = if nearly == right { format!("{}1", &right[..right.len() - 1]) } else { nearly };
    let routes = ["GET /job", "GET /topology", "GET /checkpoints", "GET /metrics", "GET /nowhere"];
    let changes = ["POST /checkpoint", "POST /kill?actor=count/0", "POST /stop?drain=true"];
    for request in routes.into_iter().chain(changes) {
        for authorization in [None, Some(wrong.as_str()), Some("Bearer "), Some("")] {
            let answer = ask(address, request, authorization);
            assert_eq!(answer.status, 401, "{request} with {authorization:?}");
            assert_eq!(answer.json()["error"], "the request does not carry this job's token");
        }
    }
    assert_eq!(*lock(&served.fake.asked), Vec::<String>::new());
}

#[test]
fn what_is_looked_at_is_versioned_json() {
    let served = Served::new();
    let job = get(&served, "GET /job");
    assert_eq!(job.status, 200);
    assert!(job.head.contains("application/json"), "{}", job.head);
    let state_dir: PathBuf = served.state_dir();
    assert_eq!(
        job.json(),
        json!({"version": 1, "job": "fraud", "pid": std::process::id(), "state_dir": state_dir, "state": "running"})
    );

    let picture = get(&served, "GET /topology").json();
    let topology = &picture["topology"];
    assert_eq!(
        (&picture["version"], &topology["job"], &topology["state"]),
        (&json!(1), &json!("fraud"), &json!("running"))
    );
    assert_eq!(picture["last_checkpoint"]["checkpoint"], 42);
    assert_eq!(topology["actors"].as_array().map(Vec::len), Some(9));
    assert_eq!(topology["actors"][1]["subtask"]["activity"], "back_pressured");
    assert_eq!(topology["actors"][1]["subtask"]["inputs"][0]["queued_bytes"], 1_536);

    let checkpoints = get(&served, "GET /checkpoints").json();
    let ids: Vec<&Value> = checkpoints["checkpoints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|each| &each["checkpoint"])
        .collect();
    assert_eq!(ids, [41, 42, 43]);
}

#[test]
fn changes_reach_the_job_and_say_what_was_done() {
    let served = Served::new();
    assert_eq!(get(&served, "POST /checkpoint").json()["checkpoint"], 43);
    assert_eq!(get(&served, "POST /kill?actor=count%2F0").json(), json!({"version": 1, "done": "count/0"}));
    assert_eq!(get(&served, "POST /stop").json(), json!({"version": 1, "done": "stop"}));
    assert_eq!(get(&served, "POST /stop?drain=true").json(), json!({"version": 1, "done": "drain"}));
    assert_eq!(*lock(&served.fake.asked), ["checkpoint", "kill count/0", "stop Suspend", "stop Drain"]);
}

#[test]
fn a_request_that_makes_no_sense_says_what_would() {
    let served = Served::new();
    let cases = [
        ("GET /nowhere", 404, "there is no route /nowhere"),
        ("GET /kill?actor=count/0", 405, "/kill takes no GET"),
        ("POST /topology", 405, "/topology takes no POST"),
        ("POST /kill", 400, "no actor is named"),
        ("POST /stop?drain=perhaps", 400, "`drain` is not true or false"),
        ("POST /kill?actor=cuont/1", 404, "no live actor is called `cuont/1`"),
        ("POST /kill?actor=0", 404, "`0` is the end of several actors' paths"),
    ];
    for (request, status, error) in cases {
        let answer = get(&served, request);
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["error"], &body["version"]),
            (status, &json!(error), &json!(1)),
            "{request}"
        );
        assert!(body["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{request}");
    }
    assert_eq!(*lock(&served.fake.asked), Vec::<String>::new());
}

#[test]
fn a_refusal_of_the_job_is_passed_on() {
    let served = Served::new();
    for (kind, status) in
        [(RefusalKind::Unknown, 404), (RefusalKind::Conflict, 409), (RefusalKind::Failed, 500)]
    {
        *lock(&served.fake.refusal) = Some(Refusal::new(kind, "the job is stopping", "wait for its end"));
        for request in ["POST /checkpoint", "POST /kill?actor=job", "POST /stop"] {
            let answer = get(&served, request);
            let expected = json!({"version": 1, "error": "the job is stopping", "hint": "wait for its end"});
            assert_eq!((answer.status, answer.json()), (status, expected), "{request}");
        }
    }
}

#[test]
fn requests_that_wait_for_the_job_leave_room_for_those_that_look() {
    let served = Served::new();
    let held = lock(&served.fake.gate);
    std::thread::scope(|scope| {
        // More than may wait: the rest is refused at once, and none keeps others from looking.
        let waiting: Vec<_> =
            (0..12).map(|_| scope.spawn(|| get(&served, "POST /checkpoint").status)).collect();
        while lock(&served.fake.asked).len() < 4 {
            std::thread::yield_now();
        }
        for _ in 0..20 {
            assert_eq!(get(&served, "GET /topology").status, 200);
        }
        drop(held);
        let mut statuses: Vec<u16> = waiting.into_iter().map(|each| each.join().expect("asked")).collect();
        statuses.sort_unstable();
        assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
        assert!(statuses.iter().filter(|status| **status == 200).count() >= 4, "{statuses:?}");
    });
}

#[test]
fn metrics_are_prometheus_text_with_escaped_labels() {
    let served = Served::new();
    let answer = get(&served, "GET /metrics");
    assert!(answer.head.contains("text/plain; version=0.0.4"), "{}", answer.head);
    let expected = [
        "# TYPE tidegate_records_in_total counter\n",
        "tidegate_records_in_total{job=\"fraud\",operator=\"count\",subtask=\"0\"} 123456\n",
        "tidegate_records_out_total{job=\"fraud\",operator=\"lines \\\"a\\\"\",subtask=\"0\"} 120000\n",
        "tidegate_attempt_number{job=\"fraud\",actor=\"deployment-0\"} 3\n",
        "tidegate_restarts_total{job=\"fraud\",operator=\"count\",subtask=\"1\"} 2\n",
        "tidegate_mailbox_messages{job=\"fraud\",operator=\"count\",subtask=\"1\"} 1\n",
        "tidegate_batch_fill_records{job=\"fraud\",operator=\"count\",subtask=\"0\"} 512\n",
        "tidegate_queued_bytes{job=\"fraud\",operator=\"count\",subtask=\"0\",producer=\"lines \\\"a\\\"/0\"} 1536\n",
        "tidegate_watermark_ms{job=\"fraud\",operator=\"count\",subtask=\"0\"} 1700000000000\n",
        "tidegate_watermark_lag_ms{job=\"fraud\",operator=\"count\",subtask=\"0\"} 3200\n",
        "tidegate_state_bytes{job=\"fraud\",operator=\"count\",subtask=\"0\"} 64000\n",
        "tidegate_activity_state{job=\"fraud\",operator=\"count\",subtask=\"0\",activity=\"back_pressured\"} 1\n",
        "tidegate_checkpoint_id{job=\"fraud\"} 42\n",
        "tidegate_checkpoint_duration_ms{job=\"fraud\"} 14\n",
    ];
    for line in expected {
        assert!(answer.body.contains(line), "{line} is not in\n{}", answer.body);
    }
    let unknown_watermark = "tidegate_watermark_ms{job=\"fraud\",operator=\"lines";
    assert!(!answer.body.contains(unknown_watermark), "a watermark that is not known has no sample");
    // Each sample stands under the TYPE of its own family, and each family comes once.
    let mut family = "";
    let mut families = Vec::new();
    for line in answer.body.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(declared) => {
                family = declared.split(' ').next().expect("a name");
                assert!(!families.contains(&family), "{family} comes twice");
                families.push(family);
            }
            None if line.starts_with('#') => {}
            None => assert!(line.starts_with(&format!("{family}{{")), "{line} stands under {family}"),
        }
    }
}

#[test]
fn dropping_the_endpoint_ends_the_server_and_takes_its_files_away() {
    let mut served = Served::new();
    let address = served.endpoint.as_ref().expect("served").address();
    let control_file = ControlFile::path_in(&served.state_dir());
    assert!(control_file.exists());
    served.endpoint = None;
    assert!(!control_file.exists());
    assert_eq!(std::fs::read_dir(served.root.path().join("registry")).expect("registry").count(), 0);
    assert!(TcpStream::connect(address).is_err(), "somebody still listens");
}

#[test]
fn dropping_the_endpoint_does_not_wait_for_a_request_that_waits_for_the_job() {
    let mut served = Served::new();
    let fake = std::sync::Arc::clone(&served.fake);
    let held = lock(&fake.gate);
    let (address, header) = (served.endpoint.as_ref().expect("served").address(), header(&served));
    let waiting = std::thread::Builder::new().spawn(move || {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(address).expect("connected");
        write!(stream, "POST /checkpoint HTTP/1.1\r\nHost: a\r\nAuthorization: {header}\r\n\r\n")
            .expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    while lock(&fake.asked).is_empty() {
        std::thread::yield_now();
    }
    served.endpoint = None;
    let answer = waiting.expect("a thread").join().expect("ended with the endpoint");
    assert_eq!(answer, b"", "the connection is closed without an answer");
    drop(held);
}
