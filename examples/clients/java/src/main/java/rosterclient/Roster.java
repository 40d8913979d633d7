package rosterclient;

import com.google.protobuf.Any;
import com.google.protobuf.FieldMask;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ChannelCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.BlockingClientCall;
import java.io.File;
import java.io.IOException;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import users.v1.UserOuterClass.User;
import users.v1.UserServiceGrpc.UserServiceBlockingV2Stub;
import users.v1.UserServiceOuterClass.GetUserRequest;
import users.v1.UserServiceOuterClass.ImportOptions;
import users.v1.UserServiceOuterClass.ImportUsersRequest;
import users.v1.UserServiceOuterClass.ImportUsersResponse;
import users.v1.UserServiceOuterClass.ListUsersRequest;
import users.v1.UserServiceOuterClass.ListUsersResponse;
import users.v1.UserServiceOuterClass.UpdateUserRequest;

/**
 * Adds to the stubs a channel, the reason of an error, and operations of several calls.
 *
 * <p>It does not parse options or print. {@link Watch} handles watches.
 */
final class Roster {
  // Updates are not listed because a retry would fail if the first attempt succeeded and its answer was lost. Creates may
  // run twice because they always have a request id here.
  private static final List<String> MAY_RUN_TWICE =
      List.of("CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers");
  private static final List<String> ONCE = List.of("UpdateUser", "DeleteUser", "ImportUsers");

  private static final int MESSAGE_USERS_MAX = 200;
  private static final int EDIT_ATTEMPTS_MAX = 5;

  /**
   * The connection to the directory.
   *
   * @param deadline of each call, except endless streams
   * @param ca trusted authorities in PEM, or null for the system's
   * @param token sent only over TLS or to this machine; null for none
   */
  record Options(String address, Duration deadline, boolean tls, File ca, String token) {}

  private Roster() {}

  /** Returns a channel that connects on the first call. */
  static ManagedChannel connect(Options options) throws IOException {
    ChannelCredentials credentials = InsecureChannelCredentials.create();
    if (options.tls()) {
      var tls = TlsChannelCredentials.newBuilder();
      if (options.ca() != null) tls.trustManager(options.ca());
      credentials = tls.build();
    }
    if (options.token() != null) {
      credentials = CompositeChannelCredentials.create(credentials, new BearerToken(options.token()));
    }
    return Grpc.newChannelBuilder(options.address(), credentials)
        .defaultServiceConfig(serviceConfig(options.deadline()))
        // Without pings, a watch on a dead connection would wait forever.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .build();
  }

  private static Map<String, ?> serviceConfig(Duration deadline) {
    var timeout = "%d.%03ds".formatted(deadline.toSeconds(), deadline.toMillisPart());
    // About 5 s in total, because a failed connection is retried only after 1 s.
    var retryPolicy =
        Map.of(
            "maxAttempts", 5.0,
            "initialBackoff", "0.2s",
            "maxBackoff", "3s",
            "backoffMultiplier", 3.0,
            "retryableStatusCodes", List.of("UNAVAILABLE"));
    return Map.of(
        "methodConfig",
        List.of(
            Map.of("name", names(MAY_RUN_TWICE), "timeout", timeout, "retryPolicy", retryPolicy),
            Map.of("name", names(ONCE), "timeout", timeout)));
  }

  private static List<Map<String, String>> names(List<String> methods) {
    return methods.stream().map(method -> Map.of("service", "users.v1.UserService", "method", method)).toList();
  }

  /** The stable reason, such as "EMAIL_TAKEN". Branch on it if the status is not enough. It may be empty. */
  static String reasonOf(StatusException error) {
    return detailOf(error, ErrorInfo.getDefaultInstance()).getReason();
  }

  /** All invalid fields of the request, with what is allowed. */
  static List<BadRequest.FieldViolation> violationsOf(StatusException error) {
    return detailOf(error, BadRequest.getDefaultInstance()).getFieldViolationsList();
  }

  /** Returns {@code none} if the directory sent no such detail. */
  @SuppressWarnings("unchecked")
  private static <T extends Message> T detailOf(StatusException error, T none) {
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(none.getClass())) return (T) detail.unpack(none.getClass());
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // The detail is malformed, so it is not from the directory.
    }
    return none;
  }

  /** Changes a user, and returns the changed paths. */
  interface Edit {
    List<String> apply(User.Builder user) throws StatusException;
  }

  /**
   * Reads a user, lets {@code edit} change it, and writes the paths that it returns.
   *
   * <p>If another caller has changed the user meanwhile, it calls {@code edit} again with the current user, so that no change
   * is lost.
   */
  static User editUser(UserServiceBlockingV2Stub users, String id, Edit edit) throws StatusException {
    for (int attempt = 1; ; attempt++) {
      var user = users.getUser(GetUserRequest.newBuilder().setId(id).build()).getUser().toBuilder();
      var mask = FieldMask.newBuilder().addAllPaths(edit.apply(user));
      try {
        return users.updateUser(UpdateUserRequest.newBuilder().setUser(user).setUpdateMask(mask).build()).getUser();
      } catch (StatusException error) {
        if (!reasonOf(error).equals("ETAG_MISMATCH") || attempt == EDIT_ATTEMPTS_MAX) throw error;
      }
    }
  }

  /** Every page of a list. Only an empty next_page_token marks the last page. */
  static final class Pages {
    private final UserServiceBlockingV2Stub users;
    private final ListUsersRequest.Builder request;
    private boolean more = true;

    Pages(UserServiceBlockingV2Stub users, ListUsersRequest request) {
      this.users = users;
      this.request = request.toBuilder();
    }

    boolean hasNext() {
      return more;
    }

    ListUsersResponse next() throws StatusException {
      var page = users.listUsers(request.build());
      request.setPageToken(page.getNextPageToken());
      more = !page.getNextPageToken().isEmpty();
      return page;
    }
  }

  /**
   * Creates or updates all {@code people} in one transaction at the end.
   *
   * <p>If {@code people} throws, it cancels the call without total_rows, and nothing is written.
   */
  static ImportUsersResponse importUsers(UserServiceBlockingV2Stub users, Iterator<User> people)
      throws StatusException, InterruptedException {
    BlockingClientCall<ImportUsersRequest, ImportUsersResponse> call = users.importUsers();
    boolean complete = false;
    try {
      var message = ImportUsersRequest.newBuilder();
      message.getOptionsBuilder().setOnConflict(ImportOptions.OnConflict.ON_CONFLICT_UPDATE);
      long rows = 0;
      // A write waits until the server can receive, and returns false if the server has already answered.
      boolean open = true;
      while (open && people.hasNext()) {
        message.addUsers(people.next());
        rows++;
        if (message.getUsersCount() < MESSAGE_USERS_MAX) continue;
        open = call.write(message.build());
        message = ImportUsersRequest.newBuilder();
      }
      if (open && call.write(message.setTotalRows(rows).build())) call.halfClose();
      var response = call.read();
      complete = true;
      return response;
    } finally {
      if (!complete) call.cancel("The import was not completed.", null);
    }
  }
}
