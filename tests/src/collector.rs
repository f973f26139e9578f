//! A collector of OpenTelemetry's traces, by OTLP over gRPC.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::deadline::until;

/// A span as it came.
#[derive(Clone, Debug)]
pub struct Told {
    /// The replica that told it.
    pub replica: String,
    pub service: String,
    pub name: String,
    pub kind: i32,
    pub trace: Vec<u8>,
    pub span: Vec<u8>,
    pub parent: Vec<u8>,
    pub is_error: bool,
    pub nanoseconds: u64,
    pub attributes: BTreeMap<String, String>,
}

type Spans = Arc<Mutex<Vec<Told>>>;

/// Takes spans until it is dropped.
#[derive(Debug)]
pub struct Collector {
    port: u16,
    spans: Spans,
    serving: JoinHandle<()>,
}

struct Service(Spans);

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        Some(Value::ArrayValue(array)) => {
            array.values.iter().map(|value| text(Some(value))).collect::<Vec<_>>().join(",")
        }
        other => format!("{other:?}"),
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    pairs.iter().map(|pair| (pair.key.clone(), text(pair.value.as_ref()))).collect()
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for of_resource in request.into_inner().resource_spans {
            let resource = attributes(&of_resource.resource.unwrap_or_default().attributes);
            let said = |name: &str| resource.get(name).cloned().unwrap_or_default();
            for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                spans.push(Told {
                    replica: said("service.instance.id"),
                    service: said("service.name"),
                    attributes: attributes(&span.attributes),
                    is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
                    nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
                    name: span.name,
                    kind: span.kind,
                    trace: span.trace_id,
                    span: span.span_id,
                    parent: span.parent_span_id,
                });
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let spans = Spans::default();
        let service = TraceServiceServer::new(Service(spans.clone()));
        let incoming = TcpIncoming::from(listener);
        let serving = Server::builder().add_service(service).serve_with_incoming(incoming);
        let serving = tokio::spawn(async move { serving.await.expect("it serves") });
        Self { port, spans, serving }
    }

    /// What tells a replica to tell this one its spans.
    pub fn environment(&self) -> [(String, String); 2] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT".into(), format!("http://127.0.0.1:{}", self.port)),
            ("OTEL_BSP_SCHEDULE_DELAY".into(), "100".into()),
        ]
    }

    pub fn spans(&self) -> Vec<Told> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a span.
    pub async fn until(&self, what: &str, is_it: impl Fn(&Told) -> bool) -> Told {
        until(what, async || self.spans().into_iter().find(&is_it)).await
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
