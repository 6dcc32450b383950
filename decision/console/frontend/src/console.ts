// What every page has: htmx, keys, and forms that say so while they are sent.

import "htmx.org/dist/htmx.esm.js";
import { watchKeys } from "./keys";
import { watchRequests } from "./notices";

watchKeys();
watchRequests();
