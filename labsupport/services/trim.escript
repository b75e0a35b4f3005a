#!/usr/bin/env escript
%% escript trim.escript OUT PLUGINS
%%
%% While RabbitMQ boots it asks every module of every loaded application which rabbit_* attributes it carries (its boot
%% steps, its feature flags). The question loads the module, and some 700 are asked, of which 33 carry one: more than half
%% of the boot. So we write, once:
%%
%%   OUT/flat/*.app    the descriptions of all applications, their module lists cut down to the modules that carry one
%%   OUT/flat/*.beam   links to all compiled modules, so that each is found in the first directory of the search path
%%   OUT/fast.boot     the boot file of the Erlang system, its module lists emptied in the same way
%%
%% What is installed is not touched, and every module can still be loaded when it is called.
-mode(compile).

main([Out, Plugins]) ->
    Flat = filename:join(Out, "flat"),
    ok = filelib:ensure_dir(filename:join(Flat, "any")),
    Rabbit = filelib:wildcard(filename:join([Plugins, "*", "ebin"])),
    Erlang = filelib:wildcard(filename:join([code:lib_dir(), "*", "ebin"])),
    lists:foreach(fun(Directory) -> describe(Flat, Directory, fun carries_attribute/1) end, Rabbit),
    lists:foreach(fun(Directory) -> describe(Flat, Directory, fun(_) -> false end) end, Erlang),
    lists:foreach(fun(Directory) -> link_modules(Flat, Directory) end, Rabbit ++ Erlang),
    {ok, Boot} = file:read_file(filename:join([code:root_dir(), "bin", "start_sasl.boot"])),
    {script, Name, Instructions} = binary_to_term(Boot),
    Trimmed = {script, Name, [without_modules(Instruction) || Instruction <- Instructions]},
    ok = file:write_file(filename:join(Out, "fast.boot"), term_to_binary(Trimmed)).

describe(Flat, Directory, Wanted) ->
    lists:foreach(
        fun(File) ->
            {ok, [{application, Name, Properties}]} = file:consult(File),
            Modules = proplists:get_value(modules, Properties, []),
            Kept = [M || M <- Modules, Wanted(filename:join(Directory, atom_to_list(M) ++ ".beam"))],
            Description = {application, Name, lists:keystore(modules, 1, Properties, {modules, Kept})},
            ok = file:write_file(filename:join(Flat, filename:basename(File)), io_lib:format("~p.~n", [Description]))
        end,
        filelib:wildcard(filename:join(Directory, "*.app"))).

carries_attribute(File) ->
    case beam_lib:chunks(File, [attributes]) of
        {ok, {_, [{attributes, Attributes}]}} ->
            lists:any(fun({Key, _}) -> lists:prefix("rabbit_", atom_to_list(Key)) end, Attributes);
        _ ->
            false
    end.

link_modules(Flat, Directory) ->
    [file:make_symlink(File, filename:join(Flat, filename:basename(File)))
     || File <- filelib:wildcard(filename:join(Directory, "*.beam"))].

without_modules({apply, {application, load, [{application, Name, Properties}]}}) ->
    {apply, {application, load, [{application, Name, lists:keystore(modules, 1, Properties, {modules, []})}]}};
without_modules(Instruction) ->
    Instruction.
