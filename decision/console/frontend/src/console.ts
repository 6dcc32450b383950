// What every page has: htmx, keys, forms that say so while they are sent, and a warning of text that
// was not.

import "htmx.org/dist/htmx.esm.js";
import { watchKeys } from "./keys";
import { watchRequests } from "./notices";
import { watchUnsaved } from "./unsaved";

watchKeys();
watchRequests();
watchUnsaved();
