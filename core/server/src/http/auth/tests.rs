use super::*;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
        .collect()
}

fn access(tokens: &watch::Sender<Tokens>) -> Access {
    Access::Tokens(Arc::new(Bearers {
        file: Some(tokens.subscribe()),
        jwts: None,
        in_query: QueryTokens::File,
        grace: Duration::ZERO,
    }))
}

fn user(authenticated: Result<Authenticated, Problem>) -> Result<String, u16> {
    let user = authenticated.map(|caller| caller.principal.user().to_string());
    user.map_err(|problem| problem.status.as_u16())
}

#[tokio::test]
async fn a_token_is_its_user_and_anything_else_is_nobody() {
    let tokens = Tokens::from_toml("[tokens]\n\"s3cret\" = \"ann\"\n\"other\" = \"bob\"\n").expect("a file");
    let access = access(&watch::Sender::new(tokens));
    let caller = async |value: &str| {
        user(access.authenticate(&headers(&[("authorization", value)]), None, None).await)
    };
    assert_eq!(caller("Bearer s3cret").await, Ok("ann".into()));
    assert_eq!(caller("bearer other").await, Ok("bob".into()));
    for wrong in ["Bearer", "Bearer ", "Bearer S3cret", "Basic s3cret", "s3cret", "Bearer s3cret x", "é"] {
        assert_eq!(caller(wrong).await, Err(401), "{wrong}");
    }
    let none = HeaderMap::new();
    assert_eq!(user(access.authenticate(&none, Some("s3cret"), None).await), Ok("ann".into()));
    assert_eq!(user(access.authenticate(&none, Some("x"), None).await), Err(401));
    assert_eq!(user(access.authenticate(&none, None, None).await), Err(401));
}

#[tokio::test]
async fn a_grant_ends_with_its_token_and_when_the_token_becomes_anothers() {
    let tokens = |text: &str| Tokens::from_toml(&format!("[tokens]\n{text}")).expect("a file");
    for (then, is_revoked) in
        [("s = \"ann\"\nt = \"bob\"", false), ("s = \"bob\"", true), ("t = \"ann\"", true)]
    {
        let sender = watch::Sender::new(tokens("s = \"ann\""));
        let grant = access(&sender)
            .authenticate(&HeaderMap::new(), Some("s"), None)
            .await
            .expect("it is ann's")
            .grant;
        assert!(!grant.is_revoked());
        sender.send_replace(tokens(then));
        assert_eq!(grant.is_revoked(), is_revoked, "S10: {then}");
        let told = futures::FutureExt::now_or_never(grant.revoked()).is_some();
        assert_eq!(told, is_revoked, "S10: {then}");
    }
}

#[tokio::test]
async fn names_count_where_nobody_has_a_token_and_health_checks_have_none() {
    let tokens = Tokens::from_toml("[tokens]\n\"t\" = \"ann\"\n").expect("a file");
    let tokens = access(&watch::Sender::new(tokens));
    let anybody = Access::Anybody(Hosts::default());
    let checked = |access: &Access, path: &str, host: &str| {
        let request = Request::get(path).header("host", host).header("origin", "http://evil.example");
        let request = request.body(axum::body::Body::empty()).expect("a request");
        access.check(&request, &Origins::default()).map_err(|problem| problem.status.as_u16())
    };
    assert_eq!(checked(&anybody, "/v1/chats", "evil.example"), Err(421));
    assert_eq!(checked(&anybody, "/v1/chats", "localhost"), Err(403));
    assert_eq!(checked(&anybody, "/nothing", "evil.example"), Err(421));
    assert_eq!(checked(&anybody, "/healthz", "10.0.0.7:8080"), Ok(()));
    assert_eq!(checked(&anybody, "/healthz/x", "10.0.0.7:8080"), Err(421));
    assert_eq!(checked(&tokens, "/v1/chats", "evil.example"), Ok(()));
    assert_eq!(checked(&tokens, "/v1/chats", "a b"), Err(400));
    assert_eq!(user(anybody.authenticate(&HeaderMap::new(), None, None).await), Ok(ANONYMOUS.into()));
}
