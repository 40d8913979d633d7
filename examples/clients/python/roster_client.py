"""What a program needs around the stubs: a channel, the reason of an error, and what takes more than one call.

Knows nothing of options or of what is printed.
"""

import itertools
import json
import random
import time

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status
from users.v1 import user_service_pb2 as api
from users.v1.user_service_pb2_grpc import UserServiceStub

# An update that succeeded without our hearing of it would fail the second time, so it is not among them. A create may
# run twice because it always has a request id here.
MAY_RUN_TWICE = ["CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers"]
ONCE = ["UpdateUser", "DeleteUser", "ImportUsers"]

MESSAGE_USERS_MAX = 200
EDIT_ATTEMPTS_MAX = 5
WAIT_SECONDS_MAX = 5


def open_channel(address, deadline_ms=10_000, tls=False, ca=None, token=None):
    """A channel whose calls have a deadline, streams that do not end aside; `ca` is PEM, None for the system's."""

    def of(methods, **config):
        names = [{"service": "users.v1.UserService", "method": method} for method in methods]
        return {"name": names, "timeout": f"{deadline_ms / 1000:.3f}s", **config}

    # About 5 s in all: a channel that cannot connect waits 1 s by itself before it tries again.
    retries = {
        "maxAttempts": 5,
        "initialBackoff": "0.2s",
        "maxBackoff": "3s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    options = [
        ("grpc.service_config", json.dumps({"methodConfig": [of(MAY_RUN_TWICE, retryPolicy=retries), of(ONCE)]})),
        # Else a watch whose connection died without a word would wait for ever. The answer's time is the ping's own,
        # 60 s by default; keepalive_timeout_ms changed nothing in grpcio 1.85.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
    ]
    if token is None and not tls:
        return grpc.insecure_channel(address, options)
    # In the clear a token goes to this machine only: local credentials refuse every other peer when they connect.
    credentials = grpc.ssl_channel_credentials(ca) if tls else grpc.local_channel_credentials()
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(address, credentials, options)


def detail_of(error, kind):
    """The error's google.rpc detail of that kind; an empty one where no directory sent it."""
    detail = kind()
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        if packed.Unpack(detail):
            break
    return detail


def reason_of(error):
    """Stable, such as "EMAIL_TAKEN": what to branch on where the status is not enough. "" where there is none."""
    return detail_of(error, ErrorInfo).reason


def violations_of(error):
    """Every bad field of the request with what is allowed there."""
    return [(each.field, each.description) for each in detail_of(error, BadRequest).field_violations]


def edit_user(users, user_id, edit):
    """Reads a user, lets `edit` change it and return the paths that it changed, and writes those.

    Where somebody else was faster, `edit` gets the user as it is by then, so that neither change is lost.
    """
    for attempt in itertools.count(1):
        user = users.GetUser(api.GetUserRequest(id=user_id)).user
        paths = edit(user)
        try:
            return users.UpdateUser(api.UpdateUserRequest(user=user, update_mask=FieldMask(paths=paths))).user
        except grpc.RpcError as error:
            if reason_of(error) != "ETAG_MISMATCH" or attempt == EDIT_ATTEMPTS_MAX:
                raise


def list_pages(users, request):
    """Every page; only an empty next_page_token says that there are no more."""
    while True:
        page = users.ListUsers(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def import_users(users, people):
    """Adds all of `people`, or brings them up to date, in one transaction at the end, and says how many there were.

    Whatever ends `people` early, an exception too, ends the stream without total_rows: then nothing is written.
    """

    def messages():
        yield api.ImportUsersRequest(options=api.ImportOptions(on_conflict=api.ImportOptions.ON_CONFLICT_UPDATE))
        rows, rest = 0, iter(people)
        while batch := list(itertools.islice(rest, MESSAGE_USERS_MAX)):
            rows += len(batch)
            yield api.ImportUsersRequest(users=batch)
        yield api.ImportUsersRequest(total_rows=rows)

    return users.ImportUsers(messages())


def follow_users(connect, token="", on_disconnect=lambda error: None):
    """The messages of a watch behind `token` (now, where it is empty) for as long as the caller likes.

    Goes on behind the last token when the connection ends, over another one of `connect`. Keep the token together with
    what was made of the changes. RESUME_TOKEN_EXPIRED is raised: then all users must be read again (docs/watch.md).
    """
    failures = 0
    while True:
        with connect() as channel:
            request = api.WatchUsersRequest(resume_token=token, heartbeat=Duration(seconds=10))
            try:
                for message in UserServiceStub(channel).WatchUsers(request):
                    failures, token = 0, message.resume_token
                    yield message
            except grpc.RpcError as error:
                if not is_passing(error):
                    raise
                on_disconnect(error)
        failures += 1
        # Half of it at random, so that all watchers of a server that restarts do not come back at once.
        time.sleep(min(WAIT_SECONDS_MAX, 0.1 * 2**failures) * random.uniform(0.5, 1))


def is_passing(error):
    """Whether another connection may do better."""
    code = error.code()
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        # Without a reason it was not the directory that failed, but something on the way.
        return reason_of(error) == ""
    return code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
