//! `deploy/helm/mainstem`, rendered by Helm itself. Its linter and the schemas of Kubernetes have nothing against it, and what a pod is
//! told starts a replica; no cluster runs it. Of ServiceMonitor and HTTPRoute there are no schemas here: their parts are looked at.

use std::collections::BTreeSet;
use std::time::Duration;

use mainstem_tests::deploy::{documents, helm, kubernetes_objections, path, rendered, text};
use mainstem_tests::postgres::Postgres;
use mainstem_tests::process::Replica;
use mainstem_tests::scratch::Scratch;
use serde_json::Value;

use crate::{end, seconds};

const REQUIRED: [&str; 2] = ["database.existingSecret=database", "auth.existingSecret=tokens"];
/// All that can be turned on.
const EVERYTHING: [&str; 17] = [
    "database.existingSecret=database",
    "auth.existingSecret=tokens",
    "peers.existingSecret=peers",
    "bus.existingSecret=bus",
    "model.existingSecret=model",
    "tls.existingSecret=tls",
    "ingress.enabled=true",
    "ingress.hosts[0]=chat.example",
    "httpRoute.enabled=true",
    "httpRoute.parentRefs[0].name=gateway",
    "autoscaling.enabled=true",
    "serviceMonitor.enabled=true",
    "networkPolicy.enabled=true",
    "networkPolicy.internalFrom[0].namespaceSelector.matchLabels.name=monitoring",
    "settings.workers=32",
    "settings.lease-ttl=20s",
    "settings.allowed-origin[0]=https://chat.example",
];
/// Those of whose kinds there are no schemas here.
const OTHERS: [&str; 2] = ["ServiceMonitor", "HTTPRoute"];

fn all(values: &[&str]) -> Vec<Value> {
    rendered(values).unwrap_or_else(|why| panic!("{why}"))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "one {kind}");
    found[0]
}

fn pod(objects: &[Value]) -> &Value {
    &one(objects, "Deployment")["spec"]["template"]["spec"]
}

#[test]
fn helm_lints_the_chart_and_kubernetes_has_nothing_against_what_it_renders() {
    let mut lint = helm();
    lint.args(["lint", "--strict"]).arg(path("helm/mainstem"));
    let linted = lint.args(REQUIRED.iter().flat_map(|value| ["--set", value])).output().expect("helm starts");
    assert!(linted.status.success(), "{}", String::from_utf8_lossy(&linted.stdout));
    let scratch = Scratch::new();
    for values in [&REQUIRED[..], &EVERYTHING] {
        let objects = all(values);
        for (number, object) in objects.iter().enumerate() {
            let kind = object["kind"].as_str().expect("a kind");
            if OTHERS.contains(&kind) {
                continue;
            }
            let file = scratch.file(&format!("{number}.json"), &object.to_string());
            assert_eq!(kubernetes_objections(file.as_ref()), "", "{kind}");
        }
    }
    let mut odd = one(&all(&REQUIRED), "Deployment").clone();
    odd["spec"]["template"]["spec"]["containers"][0]["readOnly"] = true.into();
    let odd = scratch.file("odd.json", &odd.to_string());
    assert!(kubernetes_objections(odd.as_ref()).contains("readOnly"), "it would");
}

#[test]
fn each_part_is_there_when_it_is_asked_for() {
    let kinds = |values: &[&str]| -> BTreeSet<String> {
        all(values).iter().map(|object| object["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    let always = ["ConfigMap", "Deployment", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount"];
    assert_eq!(kinds(&REQUIRED), always.map(str::to_owned).into());
    let optional = ["HTTPRoute", "HorizontalPodAutoscaler", "Ingress", "NetworkPolicy", "ServiceMonitor"];
    let everything = always.into_iter().chain(optional).map(str::to_owned).collect();
    assert_eq!(kinds(&EVERYTHING), everything);
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    for (values, told) in [
        (&REQUIRED[..1], "auth.existingSecret is required"),
        (&REQUIRED[1..], "database.existingSecret is required"),
        (&["databse.existingSecret=x"], "databse"),
        (&["image.tag=latest"], "tag"),
        (&["terminationSlackSeconds=1"], "terminationSlackSeconds"),
        (&["settings.listen=x"], "listen"),
    ] {
        let values: Vec<_> =
            if told.contains("required") { values.to_vec() } else { [&REQUIRED[..], values].concat() };
        let why = rendered(&values).expect_err(told);
        assert!(why.contains(told), "{told}: {why}");
    }
    let open = all(&["database.existingSecret=x", "auth.insecure=true"]);
    assert_eq!(variable(pod(&open), "MAINSTEM_INSECURE")["value"], "true");
}

fn variable<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let variables = pod["containers"][0]["env"].as_array().expect("variables");
    variables.iter().find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn a_pod_has_time_to_end_whatever_the_drain_takes() {
    for drain in [0, 10, 600] {
        let set = format!("drainTimeoutSeconds={drain}");
        let objects = all(&[&REQUIRED[..], &[&*set]].concat());
        let pod = pod(&objects);
        let told = seconds(variable(pod, "MAINSTEM_DRAIN_TIMEOUT")["value"].as_str().expect("a span"));
        assert_eq!(told, Duration::from_secs(drain));
        let hook =
            pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a number");
        let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
        assert!(Duration::from_secs(grace) >= Duration::from_secs(hook) + told + end(), "{grace} s");
    }
    let schema: Value = serde_json::from_str(&text("helm/mainstem/values.schema.json")).expect("JSON");
    let least = schema["properties"]["terminationSlackSeconds"]["minimum"].as_u64().expect("a number");
    assert!(Duration::from_secs(least) >= end(), "{least} s are for {:?}", end());
}

#[test]
fn a_pod_may_do_nothing_but_its_work() {
    for object in all(&EVERYTHING)
        .iter()
        .filter(|object| ["Deployment", "Pod"].contains(&object["kind"].as_str().unwrap_or("")))
    {
        let pod = if object["kind"] == "Pod" { &object["spec"] } else { &object["spec"]["template"]["spec"] };
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert!(pod["securityContext"]["runAsUser"].as_u64().is_some_and(|user| user > 0));
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]));
        for volume in pod["volumes"].as_array().expect("volumes") {
            assert!(
                volume["secret"].is_null() || volume["secret"]["defaultMode"] == 0o440,
                "others cannot read {volume}"
            );
        }
    }
}

#[test]
fn selectors_and_ports_lead_to_the_pods_and_operators_ports_stay_inside() {
    let objects = all(&EVERYTHING);
    let deployment = one(&objects, "Deployment");
    let labels = deployment["spec"]["template"]["metadata"]["labels"].as_object().expect("labels");
    let selects = |selector: &Value| {
        let selector = selector.as_object().expect("a selector");
        !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    assert!(selects(&deployment["spec"]["selector"]["matchLabels"]));
    assert!(selects(&one(&objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]));
    assert!(selects(&one(&objects, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"]));
    let doctor = &one(&objects, "Pod")["metadata"]["labels"];
    assert_ne!(
        doctor["app.kubernetes.io/component"], labels["app.kubernetes.io/component"],
        "no client is led to the doctor"
    );
    let ports: BTreeSet<_> = pod(&objects)["containers"][0]["ports"]
        .as_array()
        .expect("ports")
        .iter()
        .map(|port| &port["name"])
        .map(Value::to_string)
        .collect();
    let services = of_kind(&objects, "Service");
    assert_eq!(services.len(), 2);
    for service in &services {
        assert!(selects(&service["spec"]["selector"]), "{service}");
        for port in service["spec"]["ports"].as_array().expect("ports") {
            assert!(ports.contains(&port["targetPort"].to_string()), "{port}");
        }
    }
    let public = services.iter().find(|service| {
        !service["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-internal"))
    });
    let public = public.expect("one for clients");
    let offered = public["spec"]["ports"].as_array().expect("ports");
    assert!(
        offered.len() == 1 && offered[0]["targetPort"] == "http",
        "the internal port stays inside: {offered:?}"
    );
    let name = &public["metadata"]["name"];
    let backend = &one(&objects, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"];
    assert_eq!((&backend["name"], &backend["port"]["name"]), (name, &offered[0]["name"]));
    let backend = &one(&objects, "HTTPRoute")["spec"]["rules"][0]["backendRefs"][0];
    assert_eq!((&backend["name"], &backend["port"]), (name, &offered[0]["port"]));
    let internal =
        services.iter().find(|service| service["metadata"]["name"] != *name).expect("one for operators");
    let monitor = &one(&objects, "ServiceMonitor")["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().expect("a selector");
    assert!(
        wanted.iter().all(|(label, value)| internal["metadata"]["labels"][label] == *value),
        "{wanted:?}"
    );
    assert_eq!(monitor["endpoints"][0]["port"], internal["spec"]["ports"][0]["name"]);
    let scaled = &one(&objects, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"];
    assert_eq!(scaled["name"], deployment["metadata"]["name"]);
    assert!(deployment["spec"]["replicas"].is_null(), "one says how many there are");
    let container = &pod(&objects)["containers"][0];
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        let asked = &container[probe]["httpGet"];
        assert_eq!((&asked["path"], &asked["port"]), (&path.into(), &"internal".into()));
    }
    for (variable_name, port) in [
        ("LISTEN", "http"),
        ("RELAY_LISTEN", "relay"),
        ("INTERNAL_LISTEN", "internal"),
        ("RELAY_ADVERTISE", "relay"),
    ] {
        let number = container["ports"].as_array().expect("ports").iter().find(|it| it["name"] == port);
        let number = number.expect("it is there")["containerPort"].as_u64().expect("a number");
        let told = &variable(pod(&objects), &format!("MAINSTEM_{variable_name}"))["value"];
        assert!(told.as_str().is_some_and(|told| told.ends_with(&format!(":{number}"))), "{told}");
    }
}

#[test]
fn pods_are_made_anew_when_the_settings_change() {
    let hash = |values: &[&str]| {
        let objects = all(&[&REQUIRED[..], values].concat());
        one(&objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]
            .clone()
    };
    assert!(hash(&[]).is_string());
    assert_eq!(hash(&[]), hash(&["replicaCount=7"]));
    assert_ne!(hash(&[]), hash(&["settings.workers=3"]));
}

/// Paths of values, down to where a template or an operator has its own.
fn leaves(value: &Value, schema: &Value, path: &str, found: &mut Vec<String>) {
    match (value.as_object(), schema["additionalProperties"] == false) {
        (Some(fields), true) => {
            for (name, value) in fields {
                let below = &schema["properties"][name];
                assert!(below.is_object(), "the schema has no {path}.{name}");
                leaves(value, below, &format!("{path}.{name}"), found);
            }
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn every_value_is_in_the_schema_and_in_a_template() {
    let values = documents(&text("helm/mainstem/values.yaml")).remove(0);
    let schema: Value = serde_json::from_str(&text("helm/mainstem/values.schema.json")).expect("JSON");
    let mut paths = vec![];
    leaves(&values, &schema, "", &mut paths);
    assert!(paths.len() > 40, "{paths:?}");
    let mut templates = String::new();
    for name in [
        "_helpers.tpl",
        "configmap.yaml",
        "deployment.yaml",
        "hpa.yaml",
        "httproute.yaml",
        "ingress.yaml",
        "networkpolicy.yaml",
        "pdb.yaml",
        "service.yaml",
        "serviceaccount.yaml",
        "servicemonitor.yaml",
        "NOTES.txt",
        "tests/doctor.yaml",
    ] {
        templates += &text(&format!("helm/mainstem/templates/{name}"));
    }
    for path in paths {
        let (group, field) = path.rsplit_once('.').expect("a path");
        let is_used = templates.contains(&format!(".Values{path}"))
            || (templates.contains(&format!("with .Values{group} "))
                && templates.contains(&format!(" .{field} ")));
        assert!(is_used, "no template uses {path}");
    }
    let known: BTreeSet<_> = schema["properties"].as_object().expect("properties").keys().collect();
    let named: BTreeSet<_> = values.as_object().expect("values").keys().collect();
    let untold: Vec<_> = known.difference(&named).collect();
    assert_eq!(untold, [&&"global".to_owned()], "values.yaml tells of all");
}

#[tokio::test]
async fn what_a_pod_is_told_starts_a_replica() {
    let objects = all(&[
        &REQUIRED[..],
        &[
            "peers.existingSecret=p",
            "settings.workers=32",
            "settings.lease-ttl=20s",
            "settings.allowed-origin[0]=https://chat.example",
        ],
    ]
    .concat());
    let postgres = Postgres::shared().expect("a PostgreSQL");
    let database = postgres.fresh_database().expect("a database");
    let scratch = Scratch::new();
    let settings = one(&objects, "ConfigMap")["data"]["mainstem.toml"].as_str().expect("a text");
    let settings = scratch.file("mainstem.toml", settings);
    let tokens = scratch.file("tokens.toml", "[tokens]\n\"a-long-token\" = \"ann\"\n");
    let secret = scratch.file("secret", "0123456789abcdef0123456789abcdef");
    let mut environment = vec![];
    for variable in pod(&objects)["containers"][0]["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        let value = match name {
            "POD_IP" => continue,
            "MAINSTEM_DATABASE" => database.clone(),
            "MAINSTEM_CONFIG" => settings.clone(),
            "MAINSTEM_AUTH_FILE" => tokens.clone(),
            "MAINSTEM_PEER_SECRET_FILE" => secret.clone(),
            "MAINSTEM_REPLICA" => "release-mainstem-6d4cf56db6-x2v9q".to_owned(),
            "MAINSTEM_RELAY_LISTEN" | "MAINSTEM_INTERNAL_LISTEN" => "127.0.0.1:0".to_owned(),
            _ => variable["value"].as_str().expect("a text").replace("$(POD_IP)", "127.0.0.1"),
        };
        environment.push((name, value));
    }
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
    let mut replica = Replica::start_with("a-pod", &[], &environment).await;
    assert_eq!(replica.client().get("/v1/chats").await.status, 401, "it asks for tokens");
    replica.terminate();
    assert!(replica.ended().await.success());
}
