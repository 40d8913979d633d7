"""A complete client of the first contract. It uses only the stubs of grpcio-tools."""

import os

import grpc
from profileservice import profile_pb2, profile_pb2_grpc

token = os.environ.get("ROSTER_TOKEN")
metadata = [("authorization", f"Bearer {token}")] if token else []
with grpc.insecure_channel(os.environ.get("ROSTER_ADDRESS", "localhost:50051")) as channel:
    client = profile_pb2_grpc.ProfileServiceStub(channel)
    for _ in range(2):
        request = profile_pb2.CreateProfileRequest(first_name="lets", last_name="do", email="this")
        response = client.CreateProfile(request, timeout=10, metadata=metadata)
        print(response.status, response.msg, response.error)
