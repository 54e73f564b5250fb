//! The coordinator alone: what it has answered survives a kill -9; what people get wrong is told.

use atone_tests::api::atone;
use atone_tests::servers::Coordinator;
use atone_tests::servers::binaries::{Profile, binaries};
use atone_tests::wait;
use std::process::Command;

#[tokio::test]
async fn what_was_answered_survives_a_death() {
    let mut coordinator = Coordinator::start(Profile::Debug).unwrap();
    let api = coordinator.api();
    let open = api.begin("stays open", 600_000).unwrap();
    let committed = api.begin("committed", 600_000).unwrap();
    assert_eq!(api.commit(&committed).unwrap().0, 200);
    let undone = api.begin("undone", 600_000).unwrap();
    assert_eq!(api.rollback(&undone).unwrap().0, 200);
    let slow = api.begin("too slow", 3_000).unwrap();
    for _ in 0..3 {
        coordinator.kill9();
        coordinator.restart().unwrap();
        assert_eq!(api.status(&open).unwrap(), "active");
        assert_eq!(api.status(&committed).unwrap(), "committed");
        assert_eq!(api.status(&undone).unwrap(), "rolled_back");
        assert_eq!(api.rollback(&committed).unwrap().0, 409);
        let (code, body) = api.commit(&undone).unwrap();
        assert!(code == 409 && body["status"] == "rolled_back", "{code} {body}");
    }
    wait::until("the timeout is kept over the deaths", async || match api.status(&slow) {
        Ok(status) if status == "rolled_back" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let (code, out, err) = atone(&coordinator.url(), &["tx", "list"]).unwrap();
    assert!(code == 0 && out.contains("stays open"), "{out}{err}");
    let (code, body) = api.get("/v1/transactions?limit=2").unwrap();
    assert!(code == 200 && body["transactions"].as_array().unwrap().len() == 2, "{body}");
    assert_eq!(api.get("/v1/health").unwrap().1["status"], "ready");
    assert!(coordinator.stop().unwrap().success(), "SIGTERM ends it well");
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_named() {
    let dir = atone_tests::servers::scratch::Scratch::new("config").unwrap();
    let file = dir.join("tc.toml");
    let programs = binaries(Profile::Debug).unwrap();
    for program in [&programs.coordinator, &programs.proxy] {
        for (text, named) in
            [("no_such_key = 1\n", "no_such_key"), ("http = 5\n", "http"), ("http = \n", "tc.toml")]
        {
            std::fs::write(&file, text).unwrap();
            let output = Command::new(program).arg("--config").arg(&file).output().unwrap();
            let err = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{program:?} with {text}: {err}");
            assert!(err.contains(named) && err.contains("tc.toml"), "{program:?} with {text} says: {err}");
        }
        let output = Command::new(program).arg("--config").arg(dir.join("missing.toml")).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && err.contains("missing.toml"), "{program:?}: {err}");
        assert_eq!(Command::new(program).arg("--no-such-flag").output().unwrap().status.code(), Some(2));
        assert!(Command::new(program).arg("--help").output().unwrap().status.success());
    }
}
