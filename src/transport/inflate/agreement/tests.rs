use super::*;

fn answer(lines: &[&str]) -> Result<Option<Agreement>, &'static str> {
    agreement(lines.iter().map(|line| line.as_bytes()))
}

#[test]
fn what_a_server_may_agree_to_is_agreed_upon() {
    assert_eq!(answer(&[]), Ok(None), "it declines");
    for (line, keeps_window) in [
        ("permessage-deflate", true),
        (" permessage-deflate ; client_no_context_takeover ", true),
        ("permessage-deflate;server_no_context_takeover", false),
        ("permessage-deflate; server_max_window_bits=8", true),
        ("permessage-deflate; client_max_window_bits=9", true),
        (
            "permessage-deflate; server_max_window_bits=\"15\"; server_no_context_takeover; client_no_context_takeover",
            false,
        ),
    ] {
        assert_eq!(
            answer(&[line]),
            Ok(Some(Agreement { keeps_window })),
            "{line}"
        );
    }
    for bits in 8..=15 {
        let line = format!("permessage-deflate; server_max_window_bits={bits}");
        assert!(answer(&[&line]).is_ok(), "{line}");
    }
}

#[test]
fn what_answers_no_offer_of_ours_is_refused() {
    for lines in [
        &[""][..],
        &["x-webkit-deflate-frame"],
        &["PERMESSAGE"],
        &["permessage-deflate, permessage-deflate"],
        &["permessage-deflate", "permessage-deflate"],
        &["permessage-deflate, permessage-bzip2"],
        &["permessage-deflate,"],
        &["permessage-deflate;"],
        &["permessage-deflate; unknown"],
        &["permessage-deflate; server_no_context_takeover=1"],
        &["permessage-deflate; client_no_context_takeover=true"],
        &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
        &["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"],
        // In an answer it has a value.
        &["permessage-deflate; client_max_window_bits"],
        &["permessage-deflate; client_max_window_bits=16"],
        &["permessage-deflate; server_max_window_bits"],
        &["permessage-deflate; server_max_window_bits="],
        &["permessage-deflate; server_max_window_bits=7"],
        &["permessage-deflate; server_max_window_bits=16"],
        &["permessage-deflate; server_max_window_bits=010"],
        &["permessage-deflate; server_max_window_bits=+9"],
        &["permessage-deflate; server_max_window_bits=\"9"],
        &["permessage-deflate; server_max_window_bits=99"],
    ] {
        assert!(answer(lines).is_err(), "{lines:?}");
    }
}
