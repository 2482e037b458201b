//! Answers of the endpoint: JSON with the protocol's version, errors with what to do next.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::job_view::{Refusal, RefusalKind};
use crate::protocol::{ErrorBody, Versioned};

/// A good answer, as JSON.
pub(super) fn ok(body: impl Serialize) -> Response {
    json(StatusCode::OK, body)
}

/// An error answer, as JSON.
pub(super) fn error(status: StatusCode, error: impl Into<String>, hint: impl Into<String>) -> Response {
    json(status, ErrorBody { error: error.into(), hint: hint.into() })
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.kind {
            RefusalKind::Unknown => StatusCode::NOT_FOUND,
            RefusalKind::Conflict => StatusCode::CONFLICT,
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        error(status, self.error, self.hint)
    }
}

fn json(status: StatusCode, body: impl Serialize) -> Response {
    match serde_json::to_string(&Versioned::new(body)) {
        Ok(text) => (status, [(header::CONTENT_TYPE, "application/json")], text).into_response(),
        // Only a figure that JSON can't hold: say so instead of ending the connection.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
