"""Calls `npm run serve` as a Python service does: with stubs that grpc_tools generates from proto/."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

root = pathlib.Path(__file__).resolve().parents[2]
work = tempfile.TemporaryDirectory()
stubs = pathlib.Path(work.name)
# For root, the embedded Postgres runs as another user, who needs access.
stubs.chmod(0o755)
subprocess.run(
    [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}/proto", f"--python_out={stubs}", f"--grpc_python_out={stubs}"]
    + [str(path) for path in root.glob("proto/**/*.proto")],
    check=True,
)
sys.path.insert(0, str(stubs))

import grpc  # noqa: E402
from google.protobuf.struct_pb2 import Struct  # noqa: E402
from profileservice import profile_pb2, profile_pb2_grpc  # noqa: E402
from users.v1 import user_pb2, user_service_pb2, user_service_pb2_grpc  # noqa: E402

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    address = f"localhost:{probe.getsockname()[1]}"
environment = {
    **os.environ,
    "GRPC_ADDRESS": address,
    "HTTP_ADDRESS": "localhost:0",
    "DATA_DIR": str(stubs / "data"),
    "LOG_LEVEL": "warn",
}
environment.pop("DATABASE_URL", None)
service = subprocess.Popen(["npm", "run", "--silent", "serve"], cwd=root, env=environment, start_new_session=True)
try:
    channel = grpc.insecure_channel(address)
    for _ in range(240):
        try:
            grpc.channel_ready_future(channel).result(timeout=0.5)
            break
        except grpc.FutureTimeoutError:
            assert service.poll() is None, "npm run serve has ended"

    # The tutorial's client. Only the port differs.
    client = profile_pb2_grpc.ProfileServiceStub(channel)

    def create_profile(**fields):
        response = client.CreateProfile(profile_pb2.CreateProfileRequest(**fields))
        print(response.status, response.msg, response.error)
        return response

    first = create_profile(first_name="lets", last_name="do", email="this")
    assert (first.status, first.msg, first.error) == (200, "profile created", ""), first
    bad = "Invalid Request not enough credentials"
    for fields in (
        dict(first_name="lets", last_name="do", email="this"),
        dict(last_name="do", email="that"),
        dict(first_name="lets", last_name="do"),
        dict(first_name="x" * 257, last_name="do", email="that"),
    ):
        again = create_profile(**fields)
        assert (again.status, again.msg) == (400, bad) and again.error, again

    users = user_service_pb2_grpc.UserServiceStub(channel)
    attributes = Struct()
    attributes.update({"department": "ops", "tags": ["a", "b"], "level": 3})
    ada = users.CreateUser(
        user_service_pb2.CreateUserRequest(
            user=user_pb2.User(first_name="Ada", last_name="Lovelace", email="ada@example.com", attributes=attributes)
        ),
        timeout=10,
    ).user
    assert ada.display_name == "Ada Lovelace" and ada.attributes == attributes, ada
    assert users.GetUserByEmail(user_service_pb2.GetUserByEmailRequest(email="ADA@example.com")).user == ada
    try:
        users.CreateUser(user_service_pb2.CreateUserRequest(user=user_pb2.User(first_name="", email="x")))
        raise AssertionError("the server accepted a user without a name")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT, error
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        assert b"users.v1" in details and b"user.first_name" in details and b"user.email" in details, details

    # The four streams.
    request = user_service_pb2

    def idas(first, last):
        return [user_pb2.User(first_name="Ida", email=f"ida{number}@example.com") for number in range(first, last)]

    def rows(**end):
        options = request.ImportOptions(on_conflict=request.ImportOptions.ON_CONFLICT_SKIP)
        yield request.ImportUsersRequest(options=options, users=idas(0, 1000))
        yield request.ImportUsersRequest(users=idas(1000, 2000))
        yield request.ImportUsersRequest(users=[user_pb2.User(first_name="Ada", email="ADA@example.com")], **end)

    try:
        users.ImportUsers(rows(), timeout=60)
        raise AssertionError("the server accepted an incomplete import")
    except grpc.RpcError as error:
        assert b"IMPORT_INCOMPLETE" in dict(error.trailing_metadata())["grpc-status-details-bin"], error
    imported = users.ImportUsers(rows(total_rows=2001), timeout=60)
    assert (imported.committed, imported.created, imported.skipped, imported.rejected) == (True, 2000, 1, 0), imported
    print("imported", imported.created)

    exported = list(users.ExportUsers(request.ExportUsersRequest(filter='first_name == "Ida"'), timeout=60))
    emails = {user.email for message in exported for user in message.users}
    assert emails == {user.email for user in idas(0, 2000)}, len(emails)
    assert [bool(message.watch_token) for message in exported] == [False] * (len(exported) - 1) + [True], exported
    print("exported", len(emails), "in", len(exported), "messages")

    def watched(**start):
        """Returns a watch and an iterator of its changes with their tokens. None means that it has caught up."""
        watch = users.WatchUsers(request.WatchUsersRequest(**start), timeout=60)

        def changes():
            caught_up = False
            for message in watch:
                for change in message.changes:
                    yield change.type, change.user, message.resume_token
                if message.caught_up and not caught_up:
                    caught_up = True
                    yield None, None, message.resume_token

        return watch, changes()

    watch, changes = watched(include_existing=True)
    existing = set()
    for kind, user, token in changes:
        if kind is None:
            break
        assert (kind, token) == (user_pb2.UserChange.TYPE_EXISTING, ""), (kind, token)
        existing.add(user.email)
    assert emails < existing and "ada@example.com" in existing and token, len(existing)
    renamed = user_pb2.User(id=ada.id, last_name="King")
    users.UpdateUser(request.UpdateUserRequest(user=renamed))
    kind, user, token = next(changes)
    assert (kind, user.display_name) == (user_pb2.UserChange.TYPE_UPDATED, "Ada King"), user
    watch.cancel()
    users.DeleteUser(request.DeleteUserRequest(id=ada.id))
    for resumed, kinds in (
        (token, [user_pb2.UserChange.TYPE_DELETED]),
        (exported[-1].watch_token, [user_pb2.UserChange.TYPE_UPDATED, user_pb2.UserChange.TYPE_DELETED]),
    ):
        watch, changes = watched(resume_token=resumed)
        missed = [next(change for change in changes if change[0] is not None) for _ in kinds]
        assert [(kind, user) for kind, user, _ in missed] == [(kind, user_pb2.User(id=ada.id)) for kind in kinds], missed
        watch.cancel()
    print("watched", len(existing), "users and their changes")

    def questions():
        for number in range(2000):
            yield request.ResolveUsersRequest(tag=str(number), emails=[f"IDA{number}@example.com"], ids=[ada.id])

    for number, answer in enumerate(users.ResolveUsers(questions(), timeout=60)):
        found = [user.email for user in answer.users]
        assert (answer.tag, found, list(answer.missing_ids)) == (str(number), [f"ida{number}@example.com"], [ada.id])
    assert number == 1999, number
    print("resolved", number + 1)
finally:
    os.killpg(service.pid, signal.SIGINT)
    code = service.wait(timeout=60)
print("npm run serve ended with", code)
work.cleanup()
