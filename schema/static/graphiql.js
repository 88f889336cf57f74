// The page's own script: puts the token of the address into the header tab, opens the examples on a first visit, and
// sends what the tabs hold. It writes no token anywhere unless GraphiQL's own setting "Persist headers" is on.

const EXAMPLES = [
  {
    query: `# Say once what happened, here to one user.
# A project or a whole domain is told the same way.
mutation create(
  $resourceType: String!
  $resourceId: ID!
) {
  createNotification(
    input: {
      resourceType: $resourceType
      resourceId: $resourceId
      topic: "monitoring.alert"
      message: { title: "The disk of db-1 is full" }
      notificationType: WARNING
    }
  ) {
    notification {
      notificationId
      createdAt
    }
    recipientCount
    deliveryCount
  }
}
`,
    variables: pretty({ resourceType: "identity.User", resourceId: "admin" }),
  },
  {
    query: `# The inbox of the token in the header tab.
query inbox {
  inbox {
    unreadCount
    unseenCount
    totalCount
    cursor
  }
  notifications(first: 20) {
    nodes {
      notificationId
      topic
      message
      notificationType
      isRead
      createdAt
    }
  }
}
`,
  },
  {
    query: `# Run this, then create a notification from
# another window: it appears here at once.
subscription live {
  notificationCreated {
    notificationId
    topic
    message
    notificationType
    createdAt
    cursor
  }
}
`,
  },
];

const FORBIDDEN = 4403; // the close code for a token that is invalid or has expired
const HISTORY = ["graphiql:queries", "graphiql:favorites"];
const PERSIST_HEADERS = "graphiql:shouldPersistHeaders";
const TABS = "graphiql:tabState";
const HEADERS = "graphiql:headers";

const address = new URL(location.pathname, location.href);
const socketAddress = new URL(address);
socketAddress.protocol = address.protocol.replace("http", "ws");

const token = takeToken();
const defaultHeaders = token ? withToken(null) : undefined;

const local = GraphiQL.createLocalStorage({ namespace: "tocsin" });
const headersPersist = () => local.getItem(PERSIST_HEADERS) === "true";

/** Like `local`, but GraphiQL's history, which would keep every run's headers, obeys the setting too. */
const storage = {
  getItem: (key) => (HISTORY.includes(key) ? readHistory(key) : local.getItem(key)),
  setItem(key, value) {
    local.setItem(key, HISTORY.includes(key) && !headersPersist() ? withoutHeaders(value) : value);
    if (key === PERSIST_HEADERS && !headersPersist()) HISTORY.forEach(forgetHeaders);
  },
  removeItem: local.removeItem,
  clear: local.clear,
  get length() {
    return local.length;
  },
};

/** The token of `#token=...`, which leaves the address bar and the browser's history with this call. */
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) history.replaceState(null, "", location.pathname + location.search);
  return given;
}

/** The text of a header tab with the token in place of an older one. Text that is no JSON could not be sent anyway. */
function withToken(headers) {
  const others = Object.entries(parsed(headers)).filter(([name]) => name.toLowerCase() !== "authorization");
  return pretty({ Authorization: `Bearer ${token}`, ...Object.fromEntries(others) });
}

function parsed(headers) {
  try {
    return JSON.parse(headers) ?? {};
  } catch {
    return {};
  }
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}

function replaceHeaders(text, replace) {
  return JSON.stringify(JSON.parse(text), (key, value) => (key === "headers" ? replace(value) : value));
}

function withoutHeaders(text) {
  return replaceHeaders(text, () => null);
}

/** A run that was kept without headers comes back with today's. */
function readHistory(key) {
  const text = local.getItem(key);
  return text && replaceHeaders(text, (headers) => headers ?? defaultHeaders ?? null);
}

function forgetHeaders(key) {
  const text = local.getItem(key);
  if (text) local.setItem(key, withoutHeaders(text));
}

/** Tabs that were kept with their headers hold an older token; those kept without get the default headers. */
function renewTabs() {
  local.setItem(TABS, replaceHeaders(local.getItem(TABS), withToken));
  local.setItem(HEADERS, withToken(local.getItem(HEADERS)));
}

/** Each run takes the headers of its own tab, for the socket too: one socket for each running subscription. */
function fetcher(operation, options) {
  const wsClient = graphqlWs.createClient({
    url: socketAddress.href,
    connectionParams: options?.headers,
    shouldRetry: ({ code }) => code && code !== FORBIDDEN,
  });
  const send = GraphiQL.createFetcher({ url: address.href, wsClient, enableIncrementalDelivery: false });
  return send(operation, options);
}

function start() {
  const firstVisit = !local.getItem(TABS);
  if (token && headersPersist() && !firstVisit) renewTabs();

  const properties = {
    fetcher,
    storage,
    defaultTabs: EXAMPLES,
    variables: firstVisit ? EXAMPLES[0].variables : undefined, // GraphiQL leaves out those of the first default tab
    defaultHeaders,
    shouldPersistHeaders: headersPersist() || undefined, // false would take the setting away
    defaultEditorToolsVisibility: true,
  };
  const logo = React.createElement(GraphiQL.Logo, null, "Tocsin");
  ReactDOM.createRoot(document.getElementById("graphiql")).render(React.createElement(GraphiQL, properties, logo));
}

// Another address with a token, pasted over this one, changes the fragment only.
addEventListener("hashchange", () => location.reload());
start();
