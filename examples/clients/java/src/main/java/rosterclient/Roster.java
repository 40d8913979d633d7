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
 * What a program needs around the stubs: a channel, the reason of an error, and what takes more than one call.
 *
 * <p>Knows nothing of options or of what is printed. A watch has a class of its own, {@link Watch}.
 */
final class Roster {
  // An update that succeeded without our hearing of it would fail the second time, so it is not among them. A create may
  // run twice because it always has a request id here.
  private static final List<String> MAY_RUN_TWICE =
      List.of("CreateUser", "GetUser", "GetUserByEmail", "ListUsers", "BatchGetUsers");
  private static final List<String> ONCE = List.of("UpdateUser", "DeleteUser", "ImportUsers");

  private static final int MESSAGE_USERS_MAX = 200;
  private static final int EDIT_ATTEMPTS_MAX = 5;

  /**
   * Where the directory is and how it is called.
   *
   * @param deadline of each call, streams that do not end aside
   * @param ca authorities in PEM, or null for the system's
   * @param token goes over TLS, or to this machine; null for none
   */
  record Options(String address, Duration deadline, boolean tls, File ca, String token) {}

  private Roster() {}

  /** Connects with the first call. */
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
        // Else a watch whose connection died without a word would wait for ever.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .build();
  }

  private static Map<String, ?> serviceConfig(Duration deadline) {
    var timeout = "%d.%03ds".formatted(deadline.toSeconds(), deadline.toMillisPart());
    // About 5 s in all: a connection that fails is not tried again for 1 s.
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

  /** Stable, such as "EMAIL_TAKEN": what to branch on where the status is not enough. Empty where there is none. */
  static String reasonOf(StatusException error) {
    return detailOf(error, ErrorInfo.getDefaultInstance()).getReason();
  }

  /** Every bad field of the request with what is allowed there. */
  static List<BadRequest.FieldViolation> violationsOf(StatusException error) {
    return detailOf(error, BadRequest.getDefaultInstance()).getFieldViolationsList();
  }

  /** {@code none} where no directory sent one. */
  @SuppressWarnings("unchecked")
  private static <T extends Message> T detailOf(StatusException error, T none) {
    try {
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(none.getClass())) return (T) detail.unpack(none.getClass());
      }
    } catch (InvalidProtocolBufferException unreadable) {
      // Whoever sent it, it was no directory.
    }
    return none;
  }

  /** A change of a user: makes it, and returns the paths that it changed. */
  interface Edit {
    List<String> apply(User.Builder user) throws StatusException;
  }

  /**
   * Reads a user, lets {@code edit} change it, and writes the paths that it returns.
   *
   * <p>Where somebody else was faster, {@code edit} gets the user as it is by then, so that neither change is lost.
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

  /** Every page of a list; only an empty next_page_token says that there are no more. */
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
   * Adds all of {@code people}, or brings them up to date, in one transaction at the end.
   *
   * <p>Where {@code people} throws, the call is cancelled without its total_rows: then nothing is written.
   */
  static ImportUsersResponse importUsers(UserServiceBlockingV2Stub users, Iterator<User> people)
      throws StatusException, InterruptedException {
    BlockingClientCall<ImportUsersRequest, ImportUsersResponse> call = users.importUsers();
    boolean complete = false;
    try {
      var message = ImportUsersRequest.newBuilder();
      message.getOptionsBuilder().setOnConflict(ImportOptions.OnConflict.ON_CONFLICT_UPDATE);
      long rows = 0;
      // A write waits until the server has room, and is false where the server has answered already.
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
