"""Calls the Roster at ROSTER_ADDRESS with grpcio, and prints a line for each check that has passed."""

import concurrent.futures
import os
import queue
import time

import grpc
from users.v1 import user_service_pb2 as api
from users.v1.user_pb2 import User
from users.v1.user_service_pb2_grpc import UserServiceStub

LARGE_USERS = 250
ATTRIBUTES = {"note": "x" * 15_600}
PARALLEL_CALLS = 500
IMPORTED_USERS = 3000
MESSAGE_USERS = 500
QUESTIONS = 1000
CANCELLED_CALLS = 250
AGE_WORKERS = 16


def user_of(name, **fields):
    return User(first_name=name, email=f"{name}@python.example", **fields)


def main():
    token = grpc.access_token_call_credentials(os.environ["ROSTER_TOKEN"])
    credentials = grpc.composite_channel_credentials(grpc.local_channel_credentials(), token)
    with grpc.secure_channel(os.environ["ROSTER_ADDRESS"], credentials) as channel:
        users = UserServiceStub(channel)
        large(users)
        ada = users.CreateUser(api.CreateUserRequest(user=user_of("ada"))).user
        parallel(users, ada)
        import_and_export(users)
        resolve(users, ada)
        watch(users, ada)
        cancel(users, ada)
        deadline(users)
        connection_age(users, ada)


def large(users):
    """The request and the response have almost 4 MiB, which is the limit of both."""
    sent = [user_of(f"large-{number}", attributes=ATTRIBUTES) for number in range(LARGE_USERS)]
    created = users.BatchCreateUsers(api.BatchCreateUsersRequest(users=sent)).users
    assert [user.attributes for user in created] == [user.attributes for user in sent]
    print(f"large messages: {len(created)} users")


def parallel(users, ada):
    get_all([start_get(users, ada) for _ in range(PARALLEL_CALLS)], ada)
    print(f"parallel: {PARALLEL_CALLS} calls")


def start_get(users, ada):
    return users.GetUser.future(api.GetUserRequest(id=ada.id))


def get_all(calls, ada):
    for call in calls:
        assert call.result().user.id == ada.id


def import_and_export(users):
    def rows():
        for first in range(0, IMPORTED_USERS, MESSAGE_USERS):
            sent = [user_of(f"imported-{number}") for number in range(first, first + MESSAGE_USERS)]
            yield api.ImportUsersRequest(users=sent)
        yield api.ImportUsersRequest(total_rows=IMPORTED_USERS)

    report = users.ImportUsers(rows())
    assert report.committed
    print(f"import: {report.created} users")

    request = api.ExportUsersRequest(filter='email.endsWith("@python.example") && email.startsWith("imported-")')
    exported = list(users.ExportUsers(request))
    assert exported[-1].watch_token
    print(f"export: {sum(len(message.users) for message in exported)} users")


def resolve(users, ada):
    """Sends each request after the answer to the previous one."""
    questions = queue.Queue()
    answers = users.ResolveUsers(iter(questions.get, None))
    for number in range(QUESTIONS):
        questions.put(api.ResolveUsersRequest(tag=str(number), ids=[ada.id]))
        answer = next(answers)
        assert (answer.tag, len(answer.users)) == (str(number), 1)
    questions.put(None)
    assert next(answers, None) is None
    print(f"resolve: {QUESTIONS} answers")


def watch(users, ada):
    messages = users.WatchUsers(api.WatchUsersRequest())
    next(messages)
    users.UpdateUser(api.UpdateUserRequest(user=User(id=ada.id, last_name="King")))
    changes = (change for message in messages for change in message.changes)
    renamed = next(change.user for change in changes if change.user.id == ada.id)
    messages.cancel()
    print(f"watch: {renamed.display_name}")


def cancel(users, ada):
    """Cancelled calls cost the others of their connection nothing."""
    calls = []
    for _ in range(CANCELLED_CALLS):
        watched = users.WatchUsers(api.WatchUsersRequest())
        calls.append(start_get(users, ada))
        watched.cancel()
        assert watched.code() == grpc.StatusCode.CANCELLED
    get_all(calls, ada)
    print(f"cancellation: {CANCELLED_CALLS} calls next to {len(calls)} others")


def deadline(users):
    try:
        list(users.WatchUsers(api.WatchUsersRequest(), timeout=0.5))
        raise AssertionError("the watch has ended")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
    print("deadline: passed")


def connection_age(users, ada):
    """The server ends each connection about two seconds after its start."""
    end = time.monotonic() + 7

    def work(_):
        calls = 0
        while time.monotonic() < end:
            get_all([start_get(users, ada)], ada)
            calls += 1
        return calls

    with concurrent.futures.ThreadPoolExecutor(AGE_WORKERS) as workers:
        print(f"connection age: {sum(workers.map(work, range(AGE_WORKERS)))} calls")


main()
