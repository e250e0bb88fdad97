import flash.errors.Error;
import flash.events.DataEvent;
import flash.events.Event;
import flash.events.IOErrorEvent;
import flash.events.SecurityErrorEvent;
import flash.external.ExternalInterface;
import flash.net.XMLSocket;

/** Sockets that a test works from outside: the page calls run(), and hears of every event by report(). */
class Driver {
	static var sockets = new Map<String, XMLSocket>();
	static var reactions = new Map<String, Array<Dynamic>>();

	static function main() {
		ExternalInterface.addCallback("run", run);
		ExternalInterface.call("report", "", "ready", "");
	}

	/** Carry out commands in one call: each is its name, the socket's name, and arguments. */
	static function run(commands:Array<Dynamic>) {
		for (command in commands) {
			var name:String = command[1];
			try {
				carryOut(command[0], name, command);
			} catch (error:Error) {
				report(name, "throws", Std.string(error.errorID));
			}
		}
	}

	static function carryOut(kind:String, name:String, command:Array<Dynamic>) {
		var socket = socketOf(name);
		switch (kind) {
			case "connect":
				socket.connect(command[2], command[3]);
			case "send":
				socket.send(command[2]);
			case "close":
				socket.close();
			case "timeout":
				socket.timeout = command[2];
				report(name, "timeout", Std.string(socket.timeout));
			case "connected":
				report(name, "connected", Std.string(socket.connected));
			case "on":
				reactions.set(name + " " + command[2], command[3]);
		}
	}

	static function socketOf(name:String):XMLSocket {
		var socket = sockets.get(name);
		if (socket == null) {
			socket = new XMLSocket();
			sockets.set(name, socket);
			socket.addEventListener(Event.CONNECT, function(_) heard(name, "connect", ""));
			socket.addEventListener(DataEvent.DATA, function(event:DataEvent) heard(name, "data", event.data));
			socket.addEventListener(Event.CLOSE, function(_) heard(name, "close", ""));
			socket.addEventListener(IOErrorEvent.IO_ERROR, function(_) heard(name, "ioError", ""));
			socket.addEventListener(SecurityErrorEvent.SECURITY_ERROR, function(_) heard(name, "securityError", ""));
		}
		return socket;
	}

	static function heard(name:String, event:String, text:String) {
		report(name, event, text);
		var reaction = reactions.get(name + " " + event + text);
		if (reaction != null)
			run(reaction);
	}

	static function report(name:String, event:String, text:String) {
		ExternalInterface.call("report", name, event, text);
	}
}
