"""Adds to the stubs a channel, the reason of an error, and operations of several calls.

It does not parse options or print.
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

# Updates are not listed because a retry would fail if the first attempt succeeded and its answer was lost. Creates may run
# twice because they always have a request id here.
MAY_RUN_TWICE = ["CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers"]
ONCE = ["UpdateUser", "DeleteUser", "ImportUsers"]

MESSAGE_USERS_MAX = 200
EDIT_ATTEMPTS_MAX = 5
WAIT_SECONDS_MAX = 5


def open_channel(address, deadline_ms=10_000, tls=False, ca=None, token=None):
    """Returns a channel whose calls have a deadline, except endless streams. `ca` is PEM, or None for the system's."""

    def of(methods, **config):
        names = [{"service": "users.v1.UserService", "method": method} for method in methods]
        return {"name": names, "timeout": f"{deadline_ms / 1000:.3f}s", **config}

    # About 5 s in total, because a channel that cannot connect waits 1 s before it tries again.
    retries = {
        "maxAttempts": 5,
        "initialBackoff": "0.2s",
        "maxBackoff": "3s",
        "backoffMultiplier": 3,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    options = [
        ("grpc.service_config", json.dumps({"methodConfig": [of(MAY_RUN_TWICE, retryPolicy=retries), of(ONCE)]})),
        # Without pings, a watch on a dead connection would wait forever. The timeout of a ping is 60 s by default;
        # keepalive_timeout_ms changed nothing in grpcio 1.85.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.http2.ping_timeout_ms", 10_000),
    ]
    if token is None and not tls:
        return grpc.insecure_channel(address, options)
    # Without TLS a token is sent only to this machine: local credentials reject every other peer.
    credentials = grpc.ssl_channel_credentials(ca) if tls else grpc.local_channel_credentials()
    if token is not None:
        credentials = grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))
    return grpc.secure_channel(address, credentials, options)


def detail_of(error, kind):
    """Returns the error's google.rpc detail of that kind, or an empty one if the directory sent none."""
    detail = kind()
    status = rpc_status.from_call(error)
    for packed in status.details if status else []:
        if packed.Unpack(detail):
            break
    return detail


def reason_of(error):
    """Returns the stable reason, such as "EMAIL_TAKEN", or "". Branch on it if the status is not enough."""
    return detail_of(error, ErrorInfo).reason


def violations_of(error):
    """Returns all invalid fields of the request, with what is allowed."""
    return [(each.field, each.description) for each in detail_of(error, BadRequest).field_violations]


def edit_user(users, user_id, edit):
    """Reads a user, calls `edit`, which changes it and returns the changed paths, and writes these paths.

    If another caller has changed the user meanwhile, it calls `edit` again with the current user, so that no change is lost.
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
    """Yields every page. Only an empty next_page_token marks the last page."""
    while True:
        page = users.ListUsers(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def import_users(users, people):
    """Creates or updates all `people` in one transaction at the end, and returns the counts.

    If `people` ends early, also by an exception, the stream ends without total_rows, and nothing is written.
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
    """Yields the messages of a watch after `token` (or from now, if it is empty) until the caller leaves the loop.

    If the connection ends, it resumes after the last token over another connection of `connect`. Store the token together
    with the result of the changes. RESUME_TOKEN_EXPIRED is raised; then all users must be read again (docs/watch.md).
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
        # Half of the wait is random, so that the watchers of a restarting server do not return all at once.
        time.sleep(min(WAIT_SECONDS_MAX, 0.1 * 2**failures) * random.uniform(0.5, 1))


def is_passing(error):
    """Whether another attempt may succeed."""
    code = error.code()
    if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN):
        # Without a reason the error is not from the directory, but from something on the way to it.
        return reason_of(error) == ""
    return code in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )
