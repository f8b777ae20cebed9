//! The echo service of the SDK suite, as in the other languages: a task's output is its input, unless the input is a word it knows.

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

#[derive(Default)]
struct Echo {
    common: OnceLock<Option<Vec<u8>>>,
    tasks: AtomicU64,
}

#[tonic::async_trait]
impl Instance for Echo {
    async fn on_session_enter(&self, call: Request<SessionContext>) -> Answer<Outcome> {
        let common = self.common.get_or_init(|| call.into_inner().common_data);
        if common.as_deref() == Some(b"refuse") {
            let refused = Outcome {
                return_code: 1,
                message: Some("asked to refuse".into()),
            };
            return Ok(refused.into());
        }
        Ok(Outcome::default().into())
    }

    async fn on_task_invoke(&self, call: Request<TaskContext>) -> Answer<TaskResult> {
        let input = call.into_inner().input;
        let tasks = self.tasks.fetch_add(1, Relaxed) + 1;
        let output = match input.as_deref() {
            Some(b"common") => self.common.get().cloned().flatten(),
            Some(b"count") => Some(tasks.to_string().into()),
            Some(b"pid") => Some(std::process::id().to_string().into()),
            Some(b"fail") => {
                let failed = TaskResult {
                    return_code: 7,
                    message: Some("asked to fail".into()),
                    output: None,
                };
                return Ok(failed.into());
            }
            Some(b"exit") => {
                eprintln!("last words");
                std::process::exit(3);
            }
            Some(b"wait") => std::future::pending().await, // dropped when the call is cancelled
            _ => input,
        };
        let result = TaskResult {
            output,
            ..TaskResult::default()
        };
        Ok(result.into())
    }

    async fn on_session_leave(&self, _: Request<EmptyRequest>) -> Answer<Outcome> {
        println!("left after {} tasks", self.tasks.load(Relaxed));
        Ok(Outcome::default().into())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind(std::env::var("FLAME_INSTANCE_ENDPOINT")?)?;
    let mut stop = signal(SignalKind::terminate())?;
    let stopped = async { _ = stop.recv().await };
    let service = InstanceServer::new(Echo::default());
    Server::builder()
        .serve_with_incoming_shutdown(service, UnixListenerStream::new(listener), stopped)
        .await?;
    Ok(())
}
