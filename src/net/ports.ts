/** Says on the HTTP port where gRPC is, for a client that has confused the two. */

/** A header of /healthz. Its value is the gRPC port, or empty if the server does not know it yet. */
export const grpcPortHeader = 'x-roster-grpc-port';
