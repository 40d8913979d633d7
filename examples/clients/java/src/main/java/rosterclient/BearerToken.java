package rosterclient;

import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import java.net.InetSocketAddress;
import java.util.concurrent.Executor;

/** Adds a token to each call over TLS or to this machine. Other calls fail. */
final class BearerToken extends CallCredentials {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  private final String token;

  BearerToken(String token) {
    this.token = token;
  }

  @Override
  public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
    if (call.getSecurityLevel() != SecurityLevel.PRIVACY_AND_INTEGRITY && !isThisMachine(call)) {
      applier.fail(Status.UNAUTHENTICATED.withDescription("A token cannot be sent to another machine without TLS."));
      return;
    }
    var headers = new Metadata();
    headers.put(AUTHORIZATION, "Bearer " + token);
    applier.apply(headers);
  }

  /** Checks the connection's address, which does not depend on a name. */
  private static boolean isThisMachine(RequestInfo call) {
    return call.getTransportAttrs().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR) instanceof InetSocketAddress peer
        && peer.getAddress().isLoopbackAddress();
  }
}
