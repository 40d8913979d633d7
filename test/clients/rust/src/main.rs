//! Calls the Roster at ROSTER_ADDRESS with tonic, and prints a line for each check that has passed.
use std::error::Error;
use std::iter::successors;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use futures::stream;
use prost_types::{Struct, Value, value::Kind};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::{Interceptor, interceptor::InterceptedService};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use users::user_service_client::UserServiceClient;
use users::{
    BatchCreateUsersRequest, CreateUserRequest, ExportUsersRequest, GetUserRequest, ImportUsersRequest,
    ResolveUsersRequest, UpdateUserRequest, User, WatchUsersRequest, user_change::Type,
};

#[allow(clippy::all)]
mod users {
    tonic::include_proto!("users.v1");
}

type Client = UserServiceClient<InterceptedService<Channel, Bearer>>;
type Answer<T> = std::result::Result<T, Status>;
type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const LARGE_USERS: usize = 250;
const LARGE_TEXT: usize = 15_600;
const PARALLEL_CALLS: usize = 500;
const IMPORTED_USERS: usize = 3000;
const MESSAGE_USERS: usize = 500;
const QUESTIONS: usize = 1000;
const CANCELLED_CALLS: usize = 250;
const AGE_WORKERS: usize = 16;

/// Sends a token with each call.
#[derive(Clone)]
struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Answer<Request<()>> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

#[tokio::main]
async fn main() -> Result {
    let address = std::env::var("ROSTER_ADDRESS")?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let bearer = Bearer(format!("Bearer {}", std::env::var("ROSTER_TOKEN")?).parse()?);
    let client = UserServiceClient::with_interceptor(channel, bearer);
    large(client.clone()).await?;
    let ada = create(client.clone(), "ada").await?;
    parallel(&client, &ada).await?;
    import_and_export(client.clone()).await?;
    resolve(client.clone(), &ada).await?;
    watch(client.clone(), &ada).await?;
    cancel(&client, &ada).await?;
    deadline(client.clone()).await?;
    connection_age(&client, &ada).await
}

/// Repeats a call that the server has not received, because its connection has reached its age. Other gRPC libraries do
/// this themselves.
async fn send<T>(mut call: impl AsyncFnMut() -> Answer<Response<T>>) -> Answer<T> {
    loop {
        match call().await {
            Err(status) if is_unsent(&status) => {}
            answer => return answer.map(Response::into_inner),
        }
    }
}

fn is_unsent(status: &Status) -> bool {
    successors(status.source(), |&error| error.source()).any(|error| {
        let canceled = error.downcast_ref().is_some_and(hyper::Error::is_canceled);
        // An open call of such a connection goes on. So this is a call after the last one that the server has received.
        let refused = |error: &h2::Error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        canceled || error.downcast_ref().is_some_and(refused)
    })
}

fn user(name: impl Into<String>) -> User {
    let name = name.into();
    User { email: format!("{name}@tonic.example"), first_name: name, ..Default::default() }
}

async fn create(mut client: Client, name: &str) -> Result<User> {
    let request = CreateUserRequest { user: Some(user(name)), ..Default::default() };
    let response = send(async || client.create_user(request.clone()).await).await?;
    Ok(response.user.ok_or("CreateUser returned no user")?)
}

/// The request and the response have almost 4 MiB, which is the limit of both.
async fn large(mut client: Client) -> Result {
    let note = Value { kind: Some(Kind::StringValue("x".repeat(LARGE_TEXT))) };
    let attributes = Struct { fields: [("note".to_owned(), note)].into() };
    let large = |number| User { attributes: Some(attributes.clone()), ..user(format!("large-{number}")) };
    let request = BatchCreateUsersRequest { users: (0..LARGE_USERS).map(large).collect(), ..Default::default() };
    let response = send(async || client.batch_create_users(request.clone()).await).await?;
    assert_eq!(response.users.len(), LARGE_USERS);
    assert!(response.users.iter().all(|user| user.attributes.as_ref() == Some(&attributes)));
    println!("large messages: {LARGE_USERS} users");
    Ok(())
}

async fn get(mut client: Client, user: &User) -> Answer<()> {
    let request = GetUserRequest { id: user.id.clone() };
    let response = send(async || client.get_user(request.clone()).await).await?;
    assert_eq!(response.user.map(|user| user.id).as_ref(), Some(&user.id));
    Ok(())
}

async fn parallel(client: &Client, ada: &User) -> Result {
    try_join_all((0..PARALLEL_CALLS).map(|_| get(client.clone(), ada))).await?;
    println!("parallel: {PARALLEL_CALLS} calls");
    Ok(())
}

async fn import_and_export(mut client: Client) -> Result {
    let mut messages: Vec<_> = (0..IMPORTED_USERS)
        .step_by(MESSAGE_USERS)
        .map(|first| ImportUsersRequest {
            users: (first..first + MESSAGE_USERS).map(|number| user(format!("imported-{number}"))).collect(),
            ..Default::default()
        })
        .collect();
    messages.push(ImportUsersRequest { total_rows: Some(IMPORTED_USERS as i64), ..Default::default() });
    let report = send(async || client.import_users(stream::iter(messages.clone())).await).await?;
    assert!(report.committed);
    println!("import: {} users", report.created);

    let filter = r#"email.endsWith("@tonic.example") && email.startsWith("imported-")"#.to_owned();
    let request = ExportUsersRequest { filter, ..Default::default() };
    let mut responses = send(async || client.export_users(request.clone()).await).await?;
    let mut exported = 0;
    let mut watch_token = String::new();
    while let Some(response) = responses.message().await? {
        exported += response.users.len();
        watch_token = response.watch_token;
    }
    assert!(!watch_token.is_empty());
    println!("export: {exported} users");
    Ok(())
}

/// Sends each request after the answer to the previous one.
async fn resolve(mut client: Client, ada: &User) -> Result {
    let question =
        |number: usize| ResolveUsersRequest { tag: number.to_string(), ids: vec![ada.id.clone()], ..Default::default() };
    let mut asked = None;
    let mut answers = send(async || {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        sender.send(question(0)).expect("the receiver exists");
        asked = Some(sender);
        client.resolve_users(UnboundedReceiverStream::new(receiver)).await
    })
    .await?;
    for number in 0..QUESTIONS {
        let answer = answers.message().await?.ok_or("ResolveUsers has ended")?;
        assert_eq!((answer.tag, answer.users.len()), (number.to_string(), 1));
        if number + 1 < QUESTIONS {
            asked.as_ref().ok_or("not asked")?.send(question(number + 1))?;
        }
    }
    drop(asked);
    assert!(answers.message().await?.is_none());
    println!("resolve: {QUESTIONS} answers");
    Ok(())
}

async fn watch(mut client: Client, ada: &User) -> Result {
    let mut messages = send(async || client.watch_users(WatchUsersRequest::default()).await).await?;
    messages.message().await?.ok_or("WatchUsers has ended")?;
    let user = User { id: ada.id.clone(), last_name: "King".into(), ..Default::default() };
    let request = UpdateUserRequest { user: Some(user), ..Default::default() };
    send(async || client.update_user(request.clone()).await).await?;
    loop {
        let message = messages.message().await?.ok_or("WatchUsers has ended")?;
        for change in message.changes {
            let changed = change.user.clone().unwrap_or_default();
            if changed.id == ada.id && change.r#type() == Type::Updated {
                println!("watch: {}", changed.display_name);
                return Ok(());
            }
        }
    }
}

/// Cancelled calls cost the others of their connection nothing.
async fn cancel(client: &Client, ada: &User) -> Result {
    let cancelled = (0..CANCELLED_CALLS).map(async |_| {
        let mut client = client.clone();
        // Dropping a stream cancels its call.
        send(async || client.watch_users(WatchUsersRequest::default()).await).await.map(drop)
    });
    let others = (0..CANCELLED_CALLS).map(|_| get(client.clone(), ada));
    let (cancelled, others) = tokio::join!(try_join_all(cancelled), try_join_all(others));
    println!("cancellation: {} calls next to {} others", cancelled?.len(), others?.len());
    Ok(())
}

async fn deadline(mut client: Client) -> Result {
    let timed = || {
        let mut request = Request::new(WatchUsersRequest::default());
        request.set_timeout(Duration::from_millis(500));
        request
    };
    let error = match send(async || client.watch_users(timed()).await).await {
        Err(status) => status,
        Ok(mut messages) => loop {
            if let Err(status) = messages.message().await {
                break status;
            }
        },
    };
    // tonic's own timer cancels the call.
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
    println!("deadline: passed");
    Ok(())
}

/// The server ends each connection about two seconds after its start.
async fn connection_age(client: &Client, ada: &User) -> Result {
    let end = Instant::now() + Duration::from_secs(7);
    let workers = (0..AGE_WORKERS).map(async |_| {
        let mut calls = 0;
        while Instant::now() < end {
            get(client.clone(), ada).await?;
            calls += 1;
        }
        Ok::<usize, Status>(calls)
    });
    let calls: usize = try_join_all(workers).await?.iter().sum();
    println!("connection age: {calls} calls");
    Ok(())
}
