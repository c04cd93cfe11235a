use super::*;

#[test]
fn a_code_is_shown_and_compares_as_what_it_is_and_hides_what_the_words_hide() {
    let rejection = Rejection::new(RejectionKind::Temporary, "no secret").with_code("a secret");
    assert_eq!(rejection.to_string(), "no secret (a secret)");
    let shown = rejection.map_texts(|text| text.replace("secret", "***"));
    assert_eq!(shown.to_string(), "no *** (a ***)");
    assert!(
        shown
            .code()
            .is_some_and(|code| *code == *"a ***" && *code != 7)
    );
    let numbered = shown.with_code(-1_021).map_texts(str::to_owned);
    assert!(
        numbered
            .code()
            .is_some_and(|code| *code == -1_021 && *code != *"-1021")
    );
    // Where the code is all that the venue said it is not said twice.
    let only = Rejection::new(RejectionKind::Temporary, "EQuery").with_code("EQuery");
    assert_eq!(only.to_string(), "EQuery");
}
