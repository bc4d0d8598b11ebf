-- wrk script: as bench/post.lua, but each connection pauses after an answer, 0 to 2 x $WRK_PAUSE_MS, so that a
-- server is asked for less than it can do. A latency does not hold the pause.
dofile(os.getenv("WRK_POST"))

local most = 2 * tonumber(os.getenv("WRK_PAUSE_MS"))

function delay()
  return math.random(0, most)
end
