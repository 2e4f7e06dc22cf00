// Starts everything once the page is there; it is the last thing in the page.

import { startCurves } from "./curves.js";
import { startExplorer } from "./explorer.js";
import { startHeatMap } from "./heat.js";
import { startTables } from "./tables.js";

startTables();
startHeatMap();
startCurves();
startExplorer();
