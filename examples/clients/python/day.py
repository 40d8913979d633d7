"""Shows typical work with a directory, from the first create to the last delete, and prints each step.

The people of people.csv stay in the directory, so a second run finds them there.
"""

import argparse
import csv
import os
import pathlib
import uuid

import grpc
from roster_client import (
    edit_user,
    follow_users,
    import_users,
    list_pages,
    open_channel,
    reason_of,
    violations_of,
)
from users.v1 import user_service_pb2 as api
from users.v1.user_pb2 import User, UserChange
from users.v1.user_service_pb2_grpc import UserServiceStub


def main():
    options = parse_options()
    ca = options.ca.read_bytes() if options.ca else None
    # Only from the environment, because other users of the machine can read a process's flags.
    token = os.environ.get("ROSTER_TOKEN")

    def connect():
        return open_channel(options.address, options.deadline_ms, options.tls or ca is not None, ca, token)

    with connect() as channel:
        users = UserServiceStub(channel)
        user = create(users)
        edit(users, user.id)
        import_and_list(users)
        watch(users, user.id, connect)
        delete(users, user.id)
        fail(users)


def parse_options():
    env = os.environ.get
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default=env("ROSTER_ADDRESS", "localhost:50051"), help="host:port")
    parser.add_argument("--deadline-ms", type=int, default=10_000, help="timeout of a call in milliseconds")
    parser.add_argument("--tls", action="store_true", help="use TLS; required to send a token to another machine")
    parser.add_argument("--ca", type=pathlib.Path, default=env("ROSTER_CA"), help="PEM file of trusted authorities; enables TLS")
    return parser.parse_args()


def create(users):
    request = api.CreateUserRequest(
        user=User(
            first_name="Ada",
            last_name="Lovelace",
            email=f"ada-{uuid.uuid4()}@example.com",
            attributes={"department": "research", "projects": ["notes"]},
        ),
        request_id=str(uuid.uuid4()),
    )
    user = users.CreateUser(request).user
    print("create:", user.display_name, user.id)
    # Repeats the call, as after a lost answer. The request id makes it return the same user.
    again = users.CreateUser(request).user
    print("create again:", "the same user" if again == user else again)
    return user


def edit(users, user_id):
    attempts = 0

    def add_project(user):
        nonlocal attempts
        attempts += 1
        print(f"edit, attempt {attempts}: read", ", ".join(user.attributes["projects"]))
        if attempts == 1:
            # Another caller updates the user between our read and our write.
            edit_user(users, user_id, add("weaving"))
        return add("engine")(user)

    def add(project):
        def change(user):
            user.attributes["projects"].append(project)
            return ["attributes.projects"]

        return change

    user = edit_user(users, user_id, add_project)
    print("edited:", ", ".join(user.attributes["projects"]))


def import_and_list(users):
    with open(pathlib.Path(__file__).with_name("people.csv"), newline="", encoding="utf-8") as file:
        people = (
            User(
                first_name=row["first_name"],
                last_name=row["last_name"],
                email=row["email"],
                attributes={"department": row["attributes.department"]},
            )
            for row in csv.DictReader(file)
        )
        report = import_users(users, people)
    print(f"import: {report.created} created, {report.updated} updated, {report.skipped} unchanged,"
          f" {report.rejected} rejected")
    for error in report.errors:
        print(f"  row {error.row}: {error.field} {error.reason}")

    request = api.ListUsersRequest(
        page_size=40,
        filter='attributes.department == "research" && email.endsWith("@people.example")',
        order_by="last_name, first_name",
    )
    for number, page in enumerate(list_pages(users, request), 1):
        first, last = page.users[0], page.users[-1]
        print(f"list, page {number}: {len(page.users)} users, {first.display_name} to {last.display_name}")


def watch(users, user_id, connect):
    channels = []

    def connect_again():
        channels.append(connect())
        return channels[-1]

    def rename(last_name):
        user = User(id=user_id, last_name=last_name)
        users.UpdateUser(api.UpdateUserRequest(user=user, update_mask={"paths": ["last_name"]}))

    def say(error):
        print("watch: disconnected,", error.code().name)

    seen = 0
    for number, message in enumerate(follow_users(connect_again, on_disconnect=say)):
        if number == 0:
            # The watch sees every change that is committed after the first message was received.
            print("watch: begins")
            rename("King")
        for change in message.changes:
            if change.user.id != user_id:
                continue
            seen += 1
            print("watch:", UserChange.Type.Name(change.type), change.change_time.ToJsonString(),
                  change.user.display_name)
            if seen == 1:
                # The connection breaks, and two changes happen before it reconnects. Both follow, each with the
                # current user.
                channels[-1].close()
                rename("Byron")
                rename("Noel")
        if seen == 3:
            break


def delete(users, user_id):
    users.DeleteUser(api.DeleteUserRequest(id=user_id))
    try:
        users.GetUser(api.GetUserRequest(id=user_id))
    except grpc.RpcError as error:
        print("delete: then", error.code().name, reason_of(error))


def fail(users):
    try:
        users.CreateUser(api.CreateUserRequest(user=User(email="nope"), request_id=str(uuid.uuid4())))
    except grpc.RpcError as error:
        print("bad create:", error.code().name, reason_of(error))
        for field, description in violations_of(error):
            print(f"  {field}: {description}")


if __name__ == "__main__":
    main()
