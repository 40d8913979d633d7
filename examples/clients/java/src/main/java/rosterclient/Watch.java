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
 * A watch that reconnects: it resumes after the last token, over another channel of {@code connect}.
 *
 * <p>It never skips a change: if it cannot resume, it throws. RESUME_TOKEN_EXPIRED means that all users must be read again
 * (docs/watch.md).
 */
final class Watch implements AutoCloseable {
  private static final long WAIT_MS_MAX = 5_000;

  private final Supplier<ManagedChannel> connect;
  private final Consumer<StatusException> onDisconnect;
  private String token;
  private int failures;
  private ManagedChannel channel;
  private BlockingClientCall<?, WatchUsersResponse> call;

  /** Starts after {@code token}, or from now if it is empty. */
  Watch(Supplier<ManagedChannel> connect, String token, Consumer<StatusException> onDisconnect) {
    this.connect = connect;
    this.token = token;
    this.onDisconnect = onDisconnect;
  }

  /** Waits for the next message. Store its token together with the result of its changes. */
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
        if (!isTransient(error)) throw error;
        onDisconnect.accept(error);
      }
      // Half of the wait is random, so that the watchers of a restarting server do not return all at once.
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

  /** Whether another attempt may succeed. */
  private static boolean isTransient(StatusException error) {
    return switch (error.getStatus().getCode()) {
      case UNAVAILABLE, CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED -> true;
      // Without a reason the error is not from the directory, but from something on the way to it.
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
