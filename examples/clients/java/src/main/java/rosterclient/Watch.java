package rosterclient;

import com.google.protobuf.Duration;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import java.util.function.Supplier;
import users.v1.UserServiceGrpc;
import users.v1.UserServiceOuterClass.WatchUsersRequest;
import users.v1.UserServiceOuterClass.WatchUsersResponse;

/**
 * A watch that outlives its connections: goes on behind the last token, over another channel of {@code connect}.
 *
 * <p>Never passes over a change: what cannot be resumed is thrown. RESUME_TOKEN_EXPIRED means that all users must be read
 * again (docs/watch.md).
 */
final class Watch implements AutoCloseable {
  private static final long WAIT_MS_MAX = 5_000;

  private final Supplier<ManagedChannel> connect;
  private final Consumer<StatusException> onDisconnect;
  private String token;
  private int failures;
  private ManagedChannel channel;
  private BlockingClientCall<?, WatchUsersResponse> call;

  /** Behind {@code token}; now, where it is empty. */
  Watch(Supplier<ManagedChannel> connect, String token, Consumer<StatusException> onDisconnect) {
    this.connect = connect;
    this.token = token;
    this.onDisconnect = onDisconnect;
  }

  /** Waits for the next message. Keep its token together with what was made of its changes. */
  WatchUsersResponse next() throws StatusException, InterruptedException {
    while (true) {
      try {
        if (call == null) open();
        var message = call.read();
        if (message == null) throw Status.UNAVAILABLE.withDescription("The server ended the watch.").asException();
        failures = 0;
        token = message.getResumeToken();
        return message;
      } catch (StatusException error) {
        close();
        if (!isPassing(error)) throw error;
        onDisconnect.accept(error);
      }
      // Half of it at random, so that all watchers of a server that restarts do not come back at once.
      long waitMs = Math.min(WAIT_MS_MAX, 100L << Math.min(failures++, 10));
      Thread.sleep(ThreadLocalRandom.current().nextLong(waitMs / 2, waitMs));
    }
  }

  private void open() {
    channel = connect.get();
    var request =
        WatchUsersRequest.newBuilder().setResumeToken(token).setHeartbeat(Duration.newBuilder().setSeconds(10));
    call = UserServiceGrpc.newBlockingV2Stub(channel).watchUsers(request.build());
  }

  /** Whether another connection may do better. */
  private static boolean isPassing(StatusException error) {
    return switch (error.getStatus().getCode()) {
      case UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED -> true;
      // Without a reason it was not the directory that failed, but something on the way.
      case INTERNAL, UNKNOWN -> Roster.reasonOf(error).isEmpty();
      default -> false;
    };
  }

  @Override
  public void close() {
    if (channel != null) channel.shutdownNow();
    call = null;
    channel = null;
  }
}
