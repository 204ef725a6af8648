import io.netty.handler.codec.http.HttpHeaders;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.function.Supplier;
import org.opensearch.analysis.common.CommonAnalysisPlugin;
import org.opensearch.common.network.NetworkService;
import org.opensearch.common.settings.ClusterSettings;
import org.opensearch.common.settings.Settings;
import org.opensearch.common.util.BigArrays;
import org.opensearch.common.util.PageCacheRecycler;
import org.opensearch.common.util.concurrent.ThreadContext;
import org.opensearch.core.indices.breaker.CircuitBreakerService;
import org.opensearch.core.xcontent.NamedXContentRegistry;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpChannel;
import org.opensearch.http.HttpPipelinedRequest;
import org.opensearch.http.HttpRequest;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.http.netty4.Netty4HttpRequest;
import org.opensearch.http.netty4.Netty4HttpServerTransport;
import org.opensearch.index.reindex.ReindexPlugin;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.plugins.Plugin;
import org.opensearch.rest.RestChannel;
import org.opensearch.rest.RestRequest;
import org.opensearch.telemetry.tracing.Tracer;
import org.opensearch.threadpool.ThreadPool;
import org.opensearch.transport.Netty4Plugin;
import org.opensearch.transport.SharedGroupFactory;

/** An OpenSearch node that is started as both distributions are; its jars are OpenSearch's own. */
public class Node {
    private static final String HOME = System.getProperty("node.home");
    private static final Path CONFIG = Path.of(System.getProperty("node.config"));
    private static final String PRODUCT = System.getProperty("node.product");

    public static void main(String[] arguments) throws Exception {
        Settings.Builder given = Settings.builder().put("path.home", HOME);
        Path file = CONFIG.resolve(PRODUCT + ".yml");
        if (Files.exists(file)) given.loadFromPath(file);
        for (String each : arguments) {
            String[] pair = each.substring(2).split("=", 2);  // -Ename=value
            given.put(pair[0], pair[1]);
        }
        // What only Elasticsearch knows, or a plugin that is not here.
        given.keys().removeIf(name -> name.matches("(xpack|stack|plugins|ingest\\.geoip)\\..*"));
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            given.build(), Map.of(), CONFIG, () -> "node-1");
        List<Class<? extends Plugin>> plugins =
            List.of(Http.class, ReindexPlugin.class, CommonAnalysisPlugin.class);
        new org.opensearch.node.Node(environment, plugins, false) {}.start();
        new CountDownLatch(1).await();
    }

    /** REST by Netty; in Elasticsearch's place it says so, and takes its names of JSON. */
    public static class Http extends Netty4Plugin {
        @Override
        public Map<String, Supplier<HttpServerTransport>> getHttpTransports(
            Settings settings, ThreadPool threads, BigArrays arrays, PageCacheRecycler recycler,
            CircuitBreakerService breakers, NamedXContentRegistry registry, NetworkService network,
            HttpServerTransport.Dispatcher dispatcher, ClusterSettings cluster, Tracer tracer) {
            if (PRODUCT.equals("opensearch")) {
                return super.getHttpTransports(settings, threads, arrays, recycler, breakers,
                    registry, network, dispatcher, cluster, tracer);
            }
            return Map.of(NETTY_HTTP_TRANSPORT_NAME, () -> new Netty4HttpServerTransport(settings,
                network, arrays, threads, registry, new Saying(dispatcher), cluster,
                new SharedGroupFactory(settings), tracer) {
                @Override
                public void incomingRequest(HttpRequest request, HttpChannel channel) {
                    HttpRequest own = ((HttpPipelinedRequest) request).getDelegateRequest();
                    HttpHeaders headers = ((Netty4HttpRequest) own).nettyRequest().headers();
                    for (String name : List.of("accept", "content-type")) {
                        String found = headers.get(name);
                        if (found == null) continue;
                        String plain = found.replaceAll("vnd\\.elasticsearch\\+", "");
                        headers.set(name, plain.replaceAll("; *compatible-with=\\d+", ""));
                    }
                    super.incomingRequest(request, channel);
                }
            });
        }
    }

    private record Saying(HttpServerTransport.Dispatcher dispatcher)
        implements HttpServerTransport.Dispatcher {
        @Override
        public void dispatchRequest(RestRequest request, RestChannel channel, ThreadContext context) {
            context.addResponseHeader("X-Elastic-Product", "Elasticsearch");
            dispatcher.dispatchRequest(request, channel, context);
        }

        @Override
        public void dispatchBadRequest(RestChannel channel, ThreadContext context, Throwable cause) {
            context.addResponseHeader("X-Elastic-Product", "Elasticsearch");
            dispatcher.dispatchBadRequest(channel, context, cause);
        }
    }
}
