use super::*;

#[test]
fn scripts_survive_text() {
    for text in [
        "",
        "reset@5s",
        "reset@5s,close:1012@10s,cut@3s,unknown@1s,null@2s,garbage@4s,mute@20s,stall-welcome@1m,cut@250ms",
    ] {
        assert_eq!(text.parse::<FaultScript>().unwrap().to_string(), text);
    }
    let numbers = "refuse:250ms@1s,refuse:2m@5m,http:503@1s,http:429/5@2s";
    assert_eq!(numbers.parse::<FaultScript>().unwrap().to_string(), numbers);
    for (kind, name) in PLAIN {
        assert_eq!(
            (kind.to_string().as_str(), name.parse().unwrap()),
            (name, kind)
        );
    }
    assert_eq!(
        " cut@1s , cut@2s "
            .parse::<FaultScript>()
            .unwrap()
            .to_string(),
        "cut@1s,cut@2s"
    );
}

#[test]
fn bad_scripts_say_what_is_allowed() {
    for (text, hint) in [
        ("reset", "KIND@PERIOD"),
        ("explode@1s", "stall-welcome"),
        ("close@1s", "close:CODE"),
        ("close:99@1s", "1000 to 4999"),
        ("explode@1s", "refuse, "),
        ("http:200@1s", "300 to 599"),
        ("http:429/x@1s", "429/5"),
        ("refuse:0s@1s", "above 0"),
        ("cut@1", "500ms"),
        ("cut@0s", "above 0"),
        ("cut@s", "500ms"),
        ("cut@1s,", "KIND@PERIOD"),
    ] {
        let error = text.parse::<FaultScript>().unwrap_err().to_string();
        assert!(error.contains(hint), "{text}: {error}");
    }
}
