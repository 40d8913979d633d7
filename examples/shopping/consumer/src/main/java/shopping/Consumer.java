package shopping;

import static java.util.concurrent.TimeUnit.SECONDS;

import ecommerce.ProductInfoGrpc;
import ecommerce.ProductInfoOuterClass.Product;
import ecommerce.ProductInfoOuterClass.ProductID;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;

/** Adds a product and reads it back. The server in Go and this client in Java share only the contract. */
public final class Consumer {
  private static final int DEADLINE_SECONDS = 5;

  private Consumer() {}

  /** {@code args}: the address of ProductInfo, and the id of the seller. */
  public static void main(String[] args) throws InterruptedException {
    if (args.length != 2) {
      System.err.println("Usage: Consumer <host:port> <seller id>");
      System.exit(2);
    }
    ManagedChannel channel = Grpc.newChannelBuilder(args[0], InsecureChannelCredentials.create()).build();
    try {
      sell(ProductInfoGrpc.newBlockingStub(channel), args[1]);
    } catch (StatusRuntimeException e) {
      System.err.println(e.getStatus());
      System.exit(1);
    } finally {
      channel.shutdown().awaitTermination(DEADLINE_SECONDS, SECONDS);
    }
  }

  private static void sell(ProductInfoGrpc.ProductInfoBlockingStub products, String sellerId) {
    Product product =
        Product.newBuilder()
            .setName("Nanosecond")
            .setDescription("Thirty centimetres of wire: as far as light gets in one.")
            .setPriceMinor(250)
            .setSellerId(sellerId)
            .build();
    // A deadline is a point in time, so each call needs a new one.
    ProductID id = products.withDeadlineAfter(DEADLINE_SECONDS, SECONDS).addProduct(product);
    System.out.println("Added " + id.getValue());
    System.out.print(products.withDeadlineAfter(DEADLINE_SECONDS, SECONDS).getProduct(id));
  }
}
