//! `/metrics` over HTTP, on a thread of its own that touches nothing but the cores' numbers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use super::exposition;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Opens `address`; nothing is answered there yet.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers for as long as the process lives.
pub(crate) fn start(listener: TcpListener, registry: Registry) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(Arc::new(registry));
    let serve = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, router).await
    };
    let answer = move || {
        if let Err(error) = runtime.block_on(serve) {
            tracing::error!("metrics are not served any more: {error}");
        }
    };
    std::thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(answer)?;
    Ok(())
}

async fn metrics(State(registry): State<Arc<Registry>>) -> Response {
    match exposition::encode(&registry) {
        Ok(text) => ([(header::CONTENT_TYPE, TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
