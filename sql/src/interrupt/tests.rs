use super::*;

#[test]
fn the_token_stands_in_the_thread_only_while_it_is_entered() {
    let (outer, inner) = (Work::default(), Work::default());
    inner.token.cancel();
    assert!(check().is_ok());
    let entered = enter(&outer);
    {
        let _entered = enter(&inner);
        assert_eq!(check().unwrap_err().code, "57014");
    }
    assert!(check().is_ok(), "the outer token stands again");
    outer.token.cancel();
    assert_eq!(check().unwrap_err().code, "57014");
    drop(entered);
    assert!(check().is_ok());
}

#[tokio::test]
async fn work_sees_its_token_at_every_poll_and_leaves_none_behind() {
    let token = CancelToken::new();
    let other = token.clone();
    let seen = scope(Work::of(token), async move {
        assert!(check().is_ok());
        tokio::task::yield_now().await;
        other.cancel();
        check()
    })
    .await;
    assert!(seen.is_err());
    assert!(check().is_ok());
}
