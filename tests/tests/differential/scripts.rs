//! Scripts in the shapes that lock libraries send, and some about how values become replies.

/// A script with what it is called with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    pub(crate) body: &'static str,
    pub(crate) keys: Keys,
    pub(crate) args: Args,
    /// What it answers depends on the time left.
    pub(crate) tells_time: bool,
}

/// How many keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    None,
    One,
    OneToThree,
}

/// Which arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
    None,
    Owner,
    OwnerAndTime,
}

const fn one(body: &'static str, args: Args) -> Script {
    Script { body, keys: Keys::One, args, tells_time: false }
}

const fn several(body: &'static str, args: Args) -> Script {
    Script { body, keys: Keys::OneToThree, args, tells_time: false }
}

const fn pure(body: &'static str) -> Script {
    Script { body, keys: Keys::None, args: Args::None, tells_time: false }
}

pub(crate) const SCRIPTS: &[Script] = &[
    // Release.
    one("if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0", Args::Owner),
    one(
        "local who = redis.call('get', KEYS[1])
         if who == false then return -1 end
         if who ~= ARGV[1] then return -2 end
         return redis.call('unlink', KEYS[1])",
        Args::Owner,
    ),
    one(
        "-- nobody's, or somebody else's
         if redis.call('exists', KEYS[1]) == 0 then return nil
         elseif redis.call('get', KEYS[1]) == ARGV[1] then redis.call('del', KEYS[1]) return true
         else return false end",
        Args::Owner,
    ),
    // Extend.
    one(
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end",
        Args::OwnerAndTime,
    ),
    one(
        "local who = redis.call('get', KEYS[1])
         if not who or who ~= ARGV[1] then return 0 end
         local left = redis.call('pttl', KEYS[1])
         if left < 0 then return 0 end
         redis.call('pexpire', KEYS[1], left + ARGV[2])
         return 1",
        Args::OwnerAndTime,
    ),
    one(
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('set', KEYS[1], ARGV[1], 'XX', 'PX', ARGV[2]) end
         return false",
        Args::OwnerAndTime,
    ),
    // Acquire.
    one("return redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])", Args::OwnerAndTime),
    one(
        "if redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2], 'NX') then return 1 else return 0 end",
        Args::OwnerAndTime,
    ),
    one(
        "local who = redis.call('GET', KEYS[1])
         if who == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return true
         elseif not who then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return true
         end
         return false",
        Args::OwnerAndTime,
    ),
    one(
        "if redis.call('setnx', KEYS[1], ARGV[1]) == 1 then redis.call('pexpire', KEYS[1], ARGV[2]) return 1 end return 0",
        Args::OwnerAndTime,
    ),
    // Several keys.
    several(
        "for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end
         for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'PX', ARGV[2]) end
         return #KEYS",
        Args::OwnerAndTime,
    ),
    several(
        "for i, key in ipairs(KEYS) do if redis.call('get', key) ~= ARGV[1] then return 0 end end
         for i, key in ipairs(KEYS) do redis.call('pexpire', key, ARGV[2]) end
         return #KEYS",
        Args::OwnerAndTime,
    ),
    several(
        "local freed = 0
         for i, key in ipairs(KEYS) do
           if redis.call('get', key) == ARGV[1] then redis.pcall('del', key) freed = freed + 1 end
         end
         return freed",
        Args::Owner,
    ),
    several(
        "local n = 0
         for i = 1, #KEYS do if redis.call('get', KEYS[i]) == ARGV[1] then n = n + redis.call('del', KEYS[i]) end end
         return n",
        Args::Owner,
    ),
    // Reads.
    one("return {redis.call('get', KEYS[1]), redis.call('exists', KEYS[1]), ARGV[1]}", Args::Owner),
    one("return redis.call('get', KEYS[1])", Args::None),
    Script {
        body: "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pttl', KEYS[1]) end return -3",
        keys: Keys::One,
        args: Args::Owner,
        tells_time: true,
    },
    Script { body: "return redis.call('ttl', KEYS[1])", keys: Keys::One, args: Args::None, tells_time: true },
    // How values become replies.
    pure("return 3.99"),
    pure("return -3.99"),
    pure("return 'text'"),
    pure("return nil"),
    pure("return true"),
    pure("return false"),
    pure("return {1, 'two', {3, '4'}, 5}"),
    pure("return {1, nil, 3}"),
    pure("return {}"),
    pure("return"),
    pure("local unused = 1"),
    pure("return redis.status_reply('FINE')"),
    pure("return redis.error_reply('MINE it is')"),
    pure("return 1 + 2 * 3 - 4 / 2"),
    pure("return 'a' .. 1 .. 'b'"),
    pure("return #'four'"),
    pure("if 'a' < 'b' and not (1 > 2) or false then return 'yes' end return 'no'"),
    pure("return tonumber('12') + tonumber('0.5')"),
    pure("local a, b = 1, 2 return a + b"),
    pure("return '10' + 5"),
    pure("return #KEYS + #ARGV"),
    pure("return KEYS[1]"),
];

/// These end in an error: at Redis possibly after some of their effects, at a node without any.
pub(crate) const FAILING: &[Script] = &[
    one("return redis.call('get')", Args::None),
    one("return redis.call('get', KEYS[1], 'too', 'many')", Args::None),
    one("return redis.call('pexpire', KEYS[1], 'soon')", Args::None),
    one("return redis.call('nosuch', KEYS[1])", Args::None),
    pure("return 1 +"),
    pure("return nobody + 1"),
    pure("return 'a' < 1"),
];
