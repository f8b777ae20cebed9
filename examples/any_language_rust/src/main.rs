//! A Flame service in Rust: counts the words of each task's input. The engine starts it, one process per executor, and speaks
//! flame.v1.Instance to it on the unix socket named by FLAME_INSTANCE_ENDPOINT.

use std::error::Error;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use flamev1::instance_server::{Instance, InstanceServer};
use flamev1::{EmptyRequest, Result as Outcome, SessionContext, TaskContext, TaskResult};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// A process enters one session in its life, and calls never overlap.
#[derive(Default)]
struct Words {
    session: OnceLock<String>,
    tasks: AtomicU64,
}

#[tonic::async_trait]
impl Instance for Words {
    async fn on_session_enter(&self, call: Request<SessionContext>) -> Answer<Outcome> {
        self.session.get_or_init(|| call.into_inner().session_id);
        Ok(Outcome::default().into())
    }

    async fn on_task_invoke(&self, call: Request<TaskContext>) -> Answer<TaskResult> {
        let Some(input) = call.into_inner().input else {
            let failed = TaskResult {
                return_code: 1,
                message: Some("the task has no input".into()),
                output: None,
            };
            return Ok(failed.into());
        };
        self.tasks.fetch_add(1, Relaxed);
        let words = String::from_utf8_lossy(&input).split_whitespace().count();
        let output = Some(words.to_string().into());
        let result = TaskResult {
            output,
            ..TaskResult::default()
        };
        Ok(result.into())
    }

    async fn on_session_leave(&self, _: Request<EmptyRequest>) -> Answer<Outcome> {
        let session = self.session.get().map_or("none", String::as_str);
        eprintln!("session {session}: {} tasks", self.tasks.load(Relaxed));
        Ok(Outcome::default().into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind(std::env::var("FLAME_INSTANCE_ENDPOINT")?)?;
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async { _ = stop.recv().await };
    let service = InstanceServer::new(Words::default());
    Server::builder()
        .serve_with_incoming_shutdown(service, UnixListenerStream::new(listener), stopped)
        .await?;
    Ok(())
}
